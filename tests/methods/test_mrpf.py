"""MRPF, as it is read here: sensitivities by hand, and the shares that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from sparrow.methods import mrpf
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.training.loop import Step


def sensitivities(losses: dict[str, float], radius: float, ascents: int, batches: int = 1) -> tuple[Pruner, nn.Module]:
    """The pruner of a network of one row (3, 4) a layer, whose loss is each layer's sum times its number here."""

    def loss(*rows: torch.Tensor) -> torch.Tensor:
        return sum(slope * row.sum() for slope, row in zip(losses.values(), rows, strict=True))

    return measured(loss, {name: [3.0, 4.0] for name in losses}, radius, ascents, batches)


def measured(
    loss: Callable[..., torch.Tensor], rows: dict[str, list[float]], radius: float, ascents: int, batches: int = 1
) -> tuple[Pruner, nn.Module]:
    """The pruner of a network of these rows, one a layer, of which `loss` makes its loss."""
    network = nn.ModuleDict({name: nn.Linear(2, 1, bias=False) for name in rows}).double()
    for name, layer in network.items():
        layer.weight.data = torch.tensor([rows[name]], dtype=torch.float64)
    weights = prunable_weights(network)
    pruner = mrpf.prepare(mrpf.Params(granularity="weight", radius=radius, ascents=ascents), 0.5, torch.Generator())
    pruner.start(weights, None)

    def gradients() -> None:
        for weight in weights.values():
            weight.grad = None
        objective = partial(loss, *weights.values())
        pruner.loss(Batch(network, torch.zeros(1), torch.zeros(1), None, objective)).backward()

    for number in range(batches):
        gradients()
        pruner.after_backward(weights, Step(number, batches, batches, batches, 0.1, gradients))
    return pruner, network


@pytest.mark.parametrize("ascents", [1, 3, 10])
def test_a_linear_loss_rises_by_its_slope_times_the_radius(ascents: int) -> None:
    # The weights' norm is 5, the ball's radius 0.5, and the gradient's norm the slope times the root of 2.
    pruner, network = sensitivities({"flat": 1.0, "steep": -3.0}, 0.1, ascents)
    assert pruner.sensitivities == {
        "flat.weight": pytest.approx(0.5 * 2**0.5),
        "steep.weight": pytest.approx(3 * 0.5 * 2**0.5),
    }
    assert all(layer.weight.tolist() == [[3, 4]] for layer in network.values())


def test_batches_add_up() -> None:
    pruner, _ = sensitivities({"flat": 1.0}, 0.1, 2, batches=3)
    assert pruner.sensitivities["flat.weight"] == pytest.approx(3 * 0.5 * 2**0.5)


def test_a_layer_that_does_not_matter_has_no_sensitivity() -> None:
    pruner, _ = sensitivities({"flat": 0.0, "steep": 1.0}, 0.1, 2)
    assert pruner.sensitivities["flat.weight"] == 0


def test_each_module_sets_out_where_all_the_others_are() -> None:
    # Uphill is the other's row, (4, -3) and (3, 4): were the first one still 0.5 off when the second sets out, less were found.
    rows = {"first": [3.0, 4.0], "second": [4.0, -3.0]}
    pruner, _ = measured(lambda first, second: (first * second).sum(), rows, 0.1, 1)
    assert pruner.sensitivities == {"first.weight": pytest.approx(2.5), "second.weight": pytest.approx(2.5)}


def test_a_step_beyond_the_top_is_no_rise() -> None:
    # The loss is 0.01 below its top, 0.1 away; a step of half the norm 5 leads to 2.4 beyond.
    pruner, _ = measured(lambda row: -(row[0, 0] - 3.1).square(), {"flat": [3.0, 4.0]}, 0.5, 1)
    assert pruner.sensitivities == {"flat.weight": 0}


def test_shares_are_proportional_to_sensitivities_if_these_alone_count() -> None:
    # Of 30 units 6 stay: factor * (1 * 10 + 2 * 20) = 6.
    shares = mrpf.shares({"a": 1.0, "b": 2.0}, {"a": 10, "b": 20}, 0.8, strength=1.0)
    assert shares == {"a": pytest.approx(0.12), "b": pytest.approx(0.24)}


def test_shares_lie_between_those_and_equal_ones() -> None:
    # Half of 1 and half of 2/3, and of 4/3: 5/6 and 7/6. factor * (5/6 * 12 + 7/6 * 12) = 6.
    shares = mrpf.shares({"a": 1.0, "b": 2.0}, {"a": 12, "b": 12}, 0.75, strength=0.5)
    assert shares == {"a": pytest.approx(5 / 24), "b": pytest.approx(7 / 24)}
    assert mrpf.shares({"a": 1.0, "b": 2.0}, {"a": 12, "b": 12}, 0.75, strength=0.0) == {
        "a": pytest.approx(0.25),
        "b": pytest.approx(0.25),
    }


def test_no_module_keeps_more_than_all_and_the_others_share_the_rest() -> None:
    # Of 30 units 18 stay: ten, and eight of twenty.
    shares = mrpf.shares({"a": 100.0, "b": 1.0}, {"a": 10, "b": 20}, 0.4, strength=1.0)
    assert shares == {"a": 1, "b": pytest.approx(0.4)}


def test_where_nothing_matters_all_keep_the_same_share() -> None:
    assert mrpf.shares({"a": 0.0, "b": 0.0}, {"a": 10, "b": 30}, 0.75, strength=0.25) == {"a": 0.25, "b": 0.25}


def test_the_largest_of_a_module_stay() -> None:
    pruner, network = sensitivities({"flat": 1.0, "steep": 1.0}, 0.1, 1)
    assert [mask.tolist() for mask in pruner.end(prunable_weights(network)).values()] == [[[False, True]]] * 2
