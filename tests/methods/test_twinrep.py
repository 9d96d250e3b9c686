"""TwinRep on numbers that a pencil can follow."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.methods import twinrep
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Pruner
from sparrow.training.loop import Step
from sparrow.training.schedule import Schedule


def _never() -> None:
    raise AssertionError("the batch was evaluated again")


def _step(number: int, total: int = 4) -> Step:
    return Step(number, total, 2, total, 0.1, _never)


def _start(
    weights: dict[str, nn.Parameter], ratio: float, layout: Layout | None = None, **params: object
) -> tuple[Pruner, list]:
    settings = twinrep.Params(**params)
    pruner = twinrep.prepare(settings, ratio, torch.Generator().manual_seed(0))
    pruner.network = nn.Module()
    return pruner, pruner.start(weights, layout)


def _double(rows: list) -> nn.Parameter:
    return nn.Parameter(torch.tensor(rows, dtype=torch.float64))


def test_twinrep_by_hand() -> None:
    weights = {"layer": _double([[0.0, 0.0, 0.0]])}
    pruner, (first, second) = _start(weights, 1 / 3, prune_at=0.5)
    first.data, second.data = torch.tensor([[[2, -1, 0.5]], [[0.5, 3, -0.1]]], dtype=torch.float64)
    pruner.after_step(weights, _step(0))
    assert weights["layer"].tolist() == [[1, -3, -0.05]]
    weights["layer"].grad = torch.ones(1, 3, dtype=torch.float64)
    pruner.after_backward(weights, _step(1))
    assert first.grad.tolist() == [[0.5, 3, -0.1]]
    assert second.grad.tolist() == [[2, -1, 0.5]]
    # At half of the schedule, one of three goes: the smallest product, not the smallest factor.
    pruner.after_step(weights, _step(1))
    assert weights["layer"].tolist() == [[1, -3, 0]]
    pruner.after_backward(weights, _step(2))
    assert first.grad.tolist() == [[0.5, 3, 0]]
    assert second.grad.tolist() == [[2, -1, 0]]
    # It stays out, whatever its factors do, and so do those that are in, small as they may become.
    first.data += torch.tensor([[-1.99, 0, 9]])
    pruner.after_step(weights, _step(2))
    assert weights["layer"].flatten().tolist() == pytest.approx([0.005, -3, 0])
    assert pruner.end(weights)["layer"].tolist() == [[True, True, False]]


def test_factors_of_filters_by_hand() -> None:
    weights = {"layer": _double([[1.0, 2.0], [3.0, 4.0]])}
    pruner, (first, mixture) = _start(weights, 0.5, granularity="filter")
    assert first.tolist() == [[1, 2], [3, 4]]
    mixture.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    pruner.show(weights)
    assert weights["layer"].tolist() == [[-2, -2], [6, 8]]


@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_gradients_of_factors_are_those_of_autograd(tiny: nn.Module, granularity: str) -> None:
    weights, images, labels = prunable_weights(tiny), torch.rand(6, 1, 4, 4), torch.arange(6) % 4
    pruner, learned = _start(weights, 0.5, granularity=granularity)
    functional.cross_entropy(tiny(images), labels).backward()
    pruner.after_backward(weights, _step(0))
    factors = [factor.detach().clone().requires_grad_() for factor in learned]
    made = {}
    for name, first, second in zip(weights, factors[::2], factors[1::2], strict=True):
        mixed = torch.einsum("pq,q...->p...", second, first) if granularity == "filter" else first * second
        assert torch.allclose(mixed, weights[name], atol=1e-7)
        made[name] = mixed
    functional.cross_entropy(torch.func.functional_call(tiny, made, images), labels).backward()
    assert all(torch.allclose(tensor.grad, other.grad, atol=1e-7) for tensor, other in zip(learned, factors, strict=True))


@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_the_split_start_is_the_initial_network(tiny: nn.Module, granularity: str) -> None:
    weights, before = prunable_weights(tiny), copy.deepcopy(tiny.state_dict())
    _, learned = _start(weights, 0.5, initialisation="split", granularity=granularity)
    assert all(torch.allclose(weight, before[name], atol=1e-7) for name, weight in weights.items())
    if granularity == "weight":
        # Both factors have the same magnitude, so that they learn at the same pace.
        assert all(torch.equal(first.abs(), second) for first, second in zip(learned[::2], learned[1::2], strict=True))


def test_the_product_start_is_a_draw_times_the_initial_weights() -> None:
    weights = {"layer": nn.Parameter(torch.ones(200, 25))}
    _start(weights, 0.5)
    draws = weights["layer"].detach()
    # U(-1/5, 1/5).
    assert float(draws.abs().max()) == pytest.approx(0.2, abs=1e-3)
    assert float(draws.std()) == pytest.approx(0.2 / 3**0.5, rel=0.03)


@pytest.mark.parametrize(("share", "total", "after"), [(0.09, 100, 9), (0.5, 5, 3), (0.001, 4, 1), (0.75, 4, 3)])
def test_the_network_is_pruned_once_at_its_share_of_the_schedule(share: float, total: int, after: int) -> None:
    weights, zeros = {"layer": nn.Parameter(torch.randn(4, 5))}, []
    pruner, _ = _start(weights, 0.5, prune_at=share)
    for number in range(total):
        pruner.after_step(weights, _step(number, total))
        zeros.append(int((weights["layer"] == 0).sum()))
    assert zeros == [0] * (after - 1) + [10] * (total - after + 1)


def test_products_of_all_layers_compete_and_none_loses_everything() -> None:
    weights = {"small": _double([[0.1, -0.2, 0.3]]), "large": _double([[5.0, 0.5, -4.0]])}
    pruner, _ = _start(weights, 1 / 3, initialisation="split")
    pruner.after_step(weights, _step(3))
    assert [mask.tolist() for mask in pruner.end(weights).values()] == [[[False, False, True]], [[True, True, True]]]
    assert pruner.warning() == "of small one weight is left; valid: a larger prune_at, or allocation erk"
    weights = {"small": _double([[0.1, -0.2, 0.3]]), "large": _double([[5.0, 0.5, -4.0]])}
    pruner, _ = _start(weights, 0.5, initialisation="split")
    pruner.after_step(weights, _step(3))
    # Without a floor the first layer would lose all of its weights.
    assert [mask.sum().item() for mask in pruner.end(weights).values()] == [1, 2]


def test_filters_compete_by_the_norm_of_the_mixture(tiny: nn.Module) -> None:
    weights, layout = prunable_weights(tiny), Layout(tiny, (1, 4, 4))
    pruner, learned = _start(weights, 0.5, layout, granularity="filter", initialisation="split")
    # A mixture that swaps the first two filters, and makes the one that is then first small.
    learned[1].data = torch.tensor([[0.0, 1e-3, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    pruner.after_step(weights, _step(3))
    masks = pruner.end(weights)
    assert not masks["0.weight"][0].any()
    assert masks["0.weight"][1:].all()
    # Half of 3 + 8 filters, and the output layer keeps its own.
    assert sum(int((~masks[name].flatten(1).any(dim=1)).sum()) for name in ("0.weight", "3.weight")) == 6
    assert masks["5.weight"].all()
    assert not weights["0.weight"][0].any()


def test_its_decay_takes_the_place_of_pre_trainings() -> None:
    own = Schedule(epochs=3, weight_decay=0.1, lr=0.2)
    found = twinrep.Params(decay=3e-4).schedule(0.9, own, own)
    assert found == Schedule(epochs=3, weight_decay=3e-4, lr=0.2)


def test_decay_on_factors_drives_products_to_zero() -> None:
    """`decay/2 (a^2 + b^2)` is an L1 penalty: 1.0 keeps its fixed point at target - decay, and 0.1 falls to zero."""
    targets, decay = torch.tensor([[1.0, 0.1]], dtype=torch.float64), 0.2
    weights: dict[str, nn.Parameter] = {"layer": _double([[0.5, 0.5]])}
    pruner, learned = _start(weights, 0.5, initialisation="split", prune_at=0.999)
    optimiser = torch.optim.SGD(learned, lr=0.1, weight_decay=decay)
    for _ in range(600):
        weights["layer"].grad = (weights["layer"] - targets).detach()
        pruner.after_backward(weights, _step(0, 10_000))
        optimiser.step()
        pruner.after_step(weights, _step(0, 10_000))
    found: Tensor = weights["layer"].detach()
    assert found.flatten().tolist() == pytest.approx([0.8, 0.0], abs=1e-3)
