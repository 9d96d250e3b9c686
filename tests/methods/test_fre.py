"""FRE: contributions by hand, filters that go in steps, over the whole network."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.methods import fre
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Pruner
from sparrow.stages._mask_check import check_masks
from sparrow.training.loop import Step


def step(number: int, total: int) -> Step:
    return Step(number, total, total, total, 0.1, lambda: None)


def prepared(network: nn.Module, shape: tuple[int, int, int], ratio: float, **params: object) -> Pruner:
    pruner = fre.prepare(fre.Params(**params), ratio, torch.Generator())
    pruner.network = network
    # Layers are traced in single precision.
    pruner.start(prunable_weights(network), Layout(copy.deepcopy(network).float(), shape))
    return pruner


def network_of(rows: list[list[float]]) -> nn.Module:
    """A network whose first layer has these filters, without biases, in front of one that adds them up."""
    first, last = nn.Linear(len(rows[0]), len(rows), bias=False), nn.Linear(len(rows), 2, bias=False)
    network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).double()
    first.weight.data = torch.tensor(rows, dtype=torch.float64)
    return network


def trained(pruner: Pruner, network: nn.Module, shape: tuple[int, int, int], total: int) -> Iterator[int]:
    """Steps of gradient descent on noise, as the loop takes them; yields the number of each."""
    weights, batches = prunable_weights(network), torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for number in range(total):
        images, labels = torch.rand(8, *shape, generator=batches), torch.randint(3, (8,), generator=batches)
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        pruner.after_backward(weights, step(number, total))
        optimiser.step()
        pruner.after_step(weights, step(number, total))
        yield number


def test_a_contribution_is_the_absolute_value_of_the_sum_and_not_the_sum_of_absolute_values() -> None:
    network = network_of([[1.0, -1.0], [1.0, 1.0]])
    pruner, weight = prepared(network, (1, 1, 2), 0.5, steps=1), network[1].weight
    for gradients in ([[0.2, 0.1], [0.1, 0.1]], [[-0.2, -0.1], [0.1, 0.3]]):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        weight.grad = torch.tensor(gradients, dtype=torch.float64)
        pruner.after_backward(prunable_weights(network), step(0, 4))
    # |0.2 - 0.1| twice, where |0.2| + |0.1| were 0.3; the batches' signs do not cancel. Then 0.2 and 0.4.
    assert pruner.sums["1.weight"].tolist() == pytest.approx([0.1 + 0.1, 0.2 + 0.4], abs=1e-15)
    pruner.after_step(prunable_weights(network), step(3, 4))
    assert pruner.end(prunable_weights(network))["1.weight"].tolist() == [[False, False], [True, True]]
    assert weight.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("then", [[1.0, 2.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
def test_each_pruning_looks_at_what_came_since_the_last_one(then: list) -> None:
    # Half of four filters go, the last two, and then one more: of 10 and 8 before that and 1 and 2 since, the first. Where
    # nothing contributes any more, neither of those that are gone comes back.
    network = network_of([[1.0, 0.0]] * 4)
    pruner, weights = prepared(network, (1, 1, 2), 0.75, steps=2), prunable_weights(network)
    for number, contributions in enumerate([[10.0, 8.0, 1.0, 2.0], then]):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        network[1].weight.grad[:, 0] = torch.tensor(contributions)
        pruner.after_backward(weights, step(number, 2))
        pruner.after_step(weights, step(number, 2))
    assert pruner.end(weights)["1.weight"][:, 0].tolist() == [False, True, False, False]


@pytest.mark.parametrize(("size", "mean"), [("absolute", [0.1, 0.3]), ("square", [0.01, 0.1])])
def test_the_mean_is_of_values_or_of_squares(size: str, mean: list) -> None:
    network = network_of([[1.0, -1.0], [1.0, 1.0]])
    pruner = prepared(network, (1, 1, 2), 0.5, size=size)
    for gradients in ([[0.2, 0.1], [0.1, 0.1]], [[0.2, 0.1], [0.1, 0.3]]):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        network[1].weight.grad = torch.tensor(gradients, dtype=torch.float64)
        pruner.after_backward(prunable_weights(network), step(0, 10))
    assert pruner.score("1.weight").tolist() == pytest.approx(mean, abs=1e-15)


def test_relative_to_a_layer_its_contributions_have_length_one() -> None:
    network = network_of([[3.0, 0.0], [0.0, 4.0]])
    pruner = prepared(network, (1, 1, 2), 0.5, normalise="layer")
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    pruner.after_backward(prunable_weights(network), step(0, 10))
    assert pruner.score("1.weight").tolist() == pytest.approx([0.6, 0.8])


def test_contributions_count_all_that_belongs_to_a_filter_in_all_layers_of_its_group(residual: nn.Module) -> None:
    layout = Layout(residual, (1, 8, 8))
    generator = torch.Generator().manual_seed(0)
    for parameter in residual.parameters():
        parameter.grad = torch.rand(parameter.shape, generator=generator)
    named, found = dict(residual.named_parameters()), fre.contributions(residual, layout)
    # The stem's filters are those of the first block, too, as its shortcut adds them; both have a norm behind them.
    together = ["0.weight", "0.bias", "1.weight", "1.bias", "3.conv2.weight", "3.bn2.weight", "3.bn2.bias"]
    expected = sum(float((named[name].detach()[2] * named[name].grad[2]).sum()) for name in together)
    assert float(found["0.weight"][2]) == pytest.approx(expected, rel=1e-5)
    assert found.keys() == {group.layers[0] for group in layout.groups}


def test_before_batch_norm_weights_alone_tell_nothing(residual: nn.Module) -> None:
    residual.train()
    functional.cross_entropy(residual(torch.rand(16, 1, 8, 8)), torch.arange(16) % 3).backward()
    weight, norm = residual[3].conv1.weight, residual[3].bn1
    sums = (weight * weight.grad).flatten(1).sum(dim=1)
    told = fre.contributions(residual, Layout(residual, (1, 8, 8)))["3.conv1.weight"]
    assert sums.abs().max() < 1e-3 * told.abs().max()
    assert torch.allclose(told, norm.weight * norm.weight.grad + norm.bias * norm.bias.grad, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("ratio", [0.3, 0.8])
def test_filters_go_in_even_parts_and_stay_gone(residual: nn.Module, steps: int, ratio: float) -> None:
    residual.train()
    pruner, weights = prepared(residual, (1, 8, 8), ratio, steps=steps), prunable_weights(residual)
    left, gone = [], set()
    for _ in trained(pruner, residual, (1, 8, 8), 10):
        removed = {(block, place) for block, kept in pruner.kept.items() for place in (~kept).nonzero().flatten().tolist()}
        assert gone <= removed
        gone = removed
        left.append(20 - len(gone))
        assert all(not residual.get_parameter(name)[~mask].any() for name, mask in pruner.masks.items())
    changes = [number for number in range(10) if left[number] != (left[number - 1] if number else 20)]
    assert set(changes) <= {10 * part // steps - 1 for part in range(1, steps + 1)}
    assert left[-1] == 20 - round(ratio * 20)
    assert check_masks(pruner.end(weights), weights, pruner.layout, ratio, "filters") is None
    assert all(kept.any() for kept in pruner.kept.values())


def test_biases_and_norms_of_filters_that_are_gone_stay_at_zero(residual: nn.Module) -> None:
    residual.train()
    pruner = prepared(residual, (1, 8, 8), 0.5, steps=5)
    list(trained(pruner, residual, (1, 8, 8), 10))
    kept = pruner.kept["3.conv1.weight"]
    for parameter in (residual[3].bn1.weight, residual[3].bn1.bias):
        assert torch.equal(parameter != 0, kept)
