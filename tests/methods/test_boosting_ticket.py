"""The boosting ticket: its scores, its images, and what becomes of the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.methods import boosting_ticket
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.settings import Threat
from sparrow.training.schedule import Schedule


def _started(network: nn.Module, weights: dict, ratio: float) -> Pruner:
    pruner = boosting_ticket.prepare(boosting_ticket.Params(), ratio, torch.Generator())
    pruner.network = network
    assert [id(tensor) for tensor in pruner.start(weights, None)] == [id(weight) for weight in weights.values()]
    return pruner


class _Layers(nn.Module):
    """Layers of one filter each, with the given weights."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.layers = nn.ParameterList([torch.tensor([row], dtype=torch.float64) for row in rows])

    def weights(self) -> dict[str, nn.Parameter]:
        return dict(self.layers.named_parameters())


def test_scores_are_relative_to_the_mean_of_the_layer() -> None:
    scores = [
        boosting_ticket.relative_magnitudes(torch.tensor(row, dtype=torch.float64)).tolist()
        for row in ([1.0, -2.0, 3.0], [0.1, 0.1, -0.4, 0.2], [0.0, 0.0])
    ]
    assert scores == [pytest.approx([0.5, 1, 1.5]), pytest.approx([0.5, 0.5, 2, 1]), [0, 0]]


def test_masks_by_hand() -> None:
    # Scores 0.5, 1, 1.5 and 0.5, 0.5, 2, 1: three go, though 0.4 is smaller than 1.
    network = _Layers([1.0, 2.0, 3.0], [0.1, 0.1, 0.4, 0.2])
    masks = _started(network, network.weights(), 3 / 7).end(network.weights())
    assert [mask.tolist() for mask in masks.values()] == [[[False, True, True]], [[False, False, True, True]]]


def test_no_layer_is_emptied_and_the_warning_says_which_one_would_have_been() -> None:
    # In the second layer all scores are 1, below the two largest of the first: 1.14 and 2.57.
    network = _Layers([0.1, 0.1, 2.0, 4.5, 0.3], [1.0, -1.0])
    pruner = _started(network, network.weights(), 5 / 7)
    masks = pruner.end(network.weights())
    assert [int(mask.sum()) for mask in masks.values()] == [1, 1]
    assert pruner.warning() == "ranking all layers together would have emptied 1; one weight stays in each"


def test_a_layer_that_keeps_something_by_itself_is_not_warned_about() -> None:
    network = _Layers([1.0, 2.0, 3.0], [0.1, 0.1, 0.4, 0.2])
    pruner = _started(network, network.weights(), 3 / 7)
    pruner.end(network.weights())
    assert pruner.warning() is None


@pytest.mark.parametrize("norms", [True, False])
def test_trained_magnitudes_decide_and_the_initial_network_is_left(norms: bool, residual: nn.Module, tiny: nn.Module) -> None:
    network = residual if norms else tiny
    weights, before = prunable_weights(network), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruner = _started(network, weights, 0.5)
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    scores = torch.cat([(weight / weight.abs().mean()).abs().flatten() for weight in weights.values()]).detach()
    masks = pruner.end(weights)
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert int((~kept).sum()) == round(0.5 * len(kept))
    assert scores[kept].min() >= scores[~kept].max()
    # Biases, norms and running statistics, too.
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_it_trains_on_one_full_step_from_the_image_itself(tiny: nn.Module) -> None:
    network, labels = tiny.train(), torch.arange(3)
    images = torch.rand(3, 1, 4, 4)
    pruner = _started(network, prunable_weights(network), 0.5)
    loss = pruner.loss(Batch(network, images, labels, Threat(eps=0.1), lambda: pytest.fail("the objective has no part in it")))
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network(leaf), labels), leaf)
    expected = functional.cross_entropy(network((images + 0.1 * gradient.sign()).clamp(0, 1)), labels)
    assert loss.item() == pytest.approx(expected.item())
    assert loss.requires_grad


def test_the_search_has_a_tenth_of_the_learning_rate() -> None:
    own, pretrain = Schedule(epochs=7, lr=0.3, momentum=0.5), Schedule(epochs=30, lr=0.1)
    assert boosting_ticket.Params().schedule(0.9, own, pretrain) == Schedule(epochs=7, lr=0.1 * 0.3, momentum=0.5)
    assert boosting_ticket.Params(search_lr=0.5).schedule(0.9, own, pretrain).lr == 0.15
