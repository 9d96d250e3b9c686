"""Outputs of ReLUs: in the order in which they are run, whatever comes next, and none twice but where it is run twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.networks.grafting import Grafted
from sparrow.networks.relu_outputs import relu_outputs

IMAGES = torch.tensor([[1.0, -2.0], [-3.0, 4.0]])


class Twice(nn.Module):
    """A ReLU that is run twice, and declared after one that comes later."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.relu = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.relu(self.relu(images) - 1.5) - 1)


def test_outputs_are_in_the_order_in_which_they_are_computed() -> None:
    found = [output.tolist() for output in relu_outputs(Twice(), IMAGES)]
    assert found == [[[1, 0], [0, 4]], [[0, 0], [0, 2.5]], [[0, 0], [0, 1.5]], [[0, 0], [0, 1.5]]]


def test_what_comes_next_changes_nothing() -> None:
    class InPlace(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mul_(0)

    outputs = relu_outputs(nn.Sequential(nn.ReLU(), InPlace()), IMAGES.clone())
    assert [output.tolist() for output in outputs] == [[[1, 0], [0, 4]], [[0, 0], [0, 0]]]


def test_grafted_relus_count_and_no_hook_stays() -> None:
    lines = Grafted(torch.tensor([True, False]), torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    model = nn.Sequential(lines, nn.ReLU())
    assert relu_outputs(model, IMAGES)[0].tolist() == [[3, 0], [-5, 4]]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_such_modules_has_its_logits() -> None:
    (logits,) = relu_outputs(nn.Linear(2, 3), IMAGES)
    assert logits.shape == (2, 3)
