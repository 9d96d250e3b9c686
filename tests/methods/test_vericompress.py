"""VeriCompress on numbers that a pencil can follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow.methods import vericompress
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Pruner
from sparrow.training.loop import Step


def _never() -> None:
    raise AssertionError("the batch was evaluated again")


def _step(number: int, total: int = 12, per_epoch: int = 2) -> Step:
    return Step(number, total, per_epoch, total, 0.1, _never)


def _prepare(network: nn.Module, ratio: float, **params: object) -> Pruner:
    pruner = vericompress.prepare(vericompress.Params(**params), ratio, torch.Generator())
    pruner.network = network
    return pruner


@pytest.fixture
def network() -> nn.Sequential:
    """Three filters of two pixels, [3, 4], [1, 0] and [0, 2], with biases of 1, and an output layer."""
    network = nn.Sequential(nn.Conv2d(1, 3, (1, 2)), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)).double()
    network[0].weight.data = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64).view(3, 1, 1, 2)
    network[0].bias.data.fill_(1)
    return network.float()


def test_filters_that_grow_come_back(network: nn.Sequential) -> None:
    weights, filters = prunable_weights(network), network[0]
    pruner = _prepare(network, 1 / 3, granularity="filter", allocation="uniform")
    learned = pruner.start(weights, Layout(network, (1, 1, 2)))
    assert [id(tensor) for tensor in learned] == [id(weight) for weight in weights.values()]
    # Norms of 5, 1 and 2: the second goes, with its bias; its norm stays, or nothing could come back.
    assert filters.weight.flatten().tolist() == [3, 4, 0, 0, 0, 2]
    assert filters.bias.tolist() == [1, 0, 1]
    assert network[1].weight.tolist() == [1, 1, 1]
    # A dense step brings it back, with a norm of 6, at the epoch's end alone.
    filters.weight.data[1] = torch.tensor([6.0, 0.0])
    pruner.after_step(weights, _step(0))
    assert filters.weight.flatten().tolist() == [3, 4, 6, 0, 0, 2]
    pruner.after_step(weights, _step(1))
    assert filters.weight.flatten().tolist() == [3, 4, 6, 0, 0, 0]
    assert filters.bias.tolist() == [1, 0, 0]
    masks = pruner.end(weights)
    assert masks["0.weight"].flatten(1).all(dim=1).tolist() == [True, True, False]
    assert masks["4.weight"].all()


@pytest.mark.parametrize(("epochs", "after"), [(1, [1, 3, 5, 7, 9, 11]), (2, [3, 7, 11]), (4, [7])])
def test_weights_are_projected_after_so_many_epochs_and_in_the_end(epochs: int, after: list[int]) -> None:
    weights, projected = {"layer": nn.Parameter(torch.arange(1.0, 11.0).view(2, 5))}, []
    pruner = _prepare(nn.Module(), 0.9, thickening_epochs=epochs)
    pruner.start(weights, None)
    assert weights["layer"].flatten().tolist() == [0] * 9 + [10]
    for number in range(12):
        # Another one is the largest, and all learn.
        weights["layer"].data += torch.arange(10.0).roll(number).view(2, 5) * 100
        pruner.after_step(weights, _step(number))
        projected += [number] if int((weights["layer"] != 0).sum()) == 1 else []
    assert projected == after
    largest = int(weights["layer"].argmax())
    assert pruner.end(weights)["layer"].flatten().nonzero().flatten().tolist() == [largest]
    assert weights["layer"].flatten().nonzero().flatten().tolist() == [largest]


def test_all_weights_have_a_gradient(network: nn.Sequential) -> None:
    weights = prunable_weights(network)
    pruner = _prepare(network, 0.5)
    pruner.start(weights, None)
    network(torch.rand(4, 1, 1, 2)).square().sum().backward()
    before = {name: weight.grad.clone() for name, weight in weights.items()}
    pruner.after_backward(weights, _step(0))
    assert all(torch.equal(weight.grad, before[name]) for name, weight in weights.items())
    # Biases of single weights that go are nobody's.
    assert network[0].bias.tolist() == [1, 1, 1]


def test_layers_share_the_ratio_by_the_kernel_of_erdos_and_renyi() -> None:
    # (10 + 10) / 100 and (40 + 10) / 400 of a factor: the small layer keeps 1.6 times the large one's density.
    weights = {"small": nn.Parameter(torch.randn(10, 10)), "large": nn.Parameter(torch.randn(40, 10))}
    pruner = _prepare(nn.Module(), 0.9)
    pruner.start(weights, None)
    assert [int((weight != 0).sum()) for weight in weights.values()] == [14, 36]
