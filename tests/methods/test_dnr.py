"""DNR: where momentum wants weights, and how what is freed is divided."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.methods import dnr
from sparrow.pruning import exchange
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.training.loop import Step


def _step(number: int, total: int = 2, per_epoch: int = 1) -> Step:
    return Step(number, total, per_epoch, total, 0.1, lambda: None)


def _dnr(weights: dict, ratio: float = 0.5, **params: object) -> Pruner:
    settings = {"exchanged_end": 0.5, "rescale": False} | params
    pruner = dnr.prepare(dnr.Params(**settings), ratio, torch.Generator().manual_seed(0))
    pruner.network = nn.Identity()
    pruner.start(weights, None)
    return pruner


def test_momentum_shares_by_hand() -> None:
    # Active means 3 and 1; what is dormant has no share in them.
    masks = {"a": torch.tensor([True, True, False]), "b": torch.tensor([False, True])}
    momentum = {"a": torch.tensor([-4.0, 2.0, 9.0]), "b": torch.tensor([9.0, -1.0])}
    assert dnr.momentum_shares(momentum, masks) == {"a": 0.75, "b": 0.25}


def test_a_layer_without_weights_wants_none_and_without_gradients_all_want_the_same() -> None:
    masks = {"a": torch.tensor([True]), "b": torch.tensor([False])}
    assert dnr.momentum_shares({"a": torch.ones(1), "b": torch.ones(1)}, masks) == {"a": 1, "b": 0}
    assert dnr.momentum_shares({"a": torch.zeros(1), "b": torch.ones(1)}, masks) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("total", "shares", "free", "found"),
    [
        (4, (0.75, 0.25), (100, 100), (3, 1)),
        (5, (0.5, 0.5), (100, 100), (3, 2)),
        (10, (0.34, 0.33, 0.33), (100, 100, 100), (4, 3, 3)),
        # 90 of 100 go to the first, which takes 49 of its 50; the others share 41.
        (100, (0.9, 0.06, 0.04), (50, 100, 100), (49, 27, 24)),
        # 35.5 and 25.5 of the 71 that the first cannot take; the second takes 19, and the third the rest.
        (80, (0.9, 0.1, 0.0), (1, 20, 100), (0, 19, 61)),
        # There is no room but all.
        (20, (1.0, 0.0), (10, 10), (10, 10)),
        (0, (0.75, 0.25), (0, 0), (0, 0)),
    ],
)
def test_what_is_freed_is_divided(total: int, shares: tuple, free: tuple, found: tuple) -> None:
    layers = "abc"[: len(free)]
    result = dnr.divided(total, dict(zip(layers, shares, strict=True)), dict(zip(layers, free, strict=True)))
    assert tuple(result.values()) == found


def test_what_is_freed_is_divided_to_the_last_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        shares = torch.rand(4, generator=generator, dtype=torch.float64)
        free = torch.randint(0, 40, (4,), generator=generator)
        total = int(torch.randint(0, int(free.sum()) + 1, (1,), generator=generator))
        found = dnr.divided(total, dict(enumerate((shares / shares.sum()).tolist())), dict(enumerate(free.tolist())))
        assert sum(found.values()) == total
        assert all(0 <= found[place] <= int(free[place]) for place in found)


def test_an_exchange_by_hand() -> None:
    weights = {"a": nn.Parameter(torch.zeros(1, 8)), "b": nn.Parameter(torch.zeros(1, 8))}
    pruner = _dnr(weights)
    pruner.masks = {name: torch.tensor([[True] * 4 + [False] * 4]) for name in weights}
    # Of four weights of each two go. Active means of |m| are 3 and 1: three come to the first layer, one to the second.
    weights["a"].data[0, :4] = torch.tensor([5.0, -1.0, 4.0, 2.0])
    weights["b"].data[0, :4] = torch.tensor([0.1, 0.4, -0.5, 0.2])
    weights["a"].grad = torch.tensor([[3.0, 3.1, -3.0, 2.9, 7.0, 0.0, -8.0, 1.0]])
    weights["b"].grad = torch.tensor([[1.1, -1.0, 1.0, 0.9, 0.1, 0.2, -0.8, 0.3]])
    pruner.after_backward(weights, _step(0))
    pruner.after_step(weights, _step(0))
    # In the first, 4 and 6 come and 1, which had just gone; in the second 0 comes back.
    assert weights["a"].flatten().tolist() == [5, -1, 4, 0, 0, 0, 0, 0]
    assert pruner.masks["a"].int().tolist() == [[1, 1, 1, 0, 1, 0, 1, 0]]
    assert pruner.masks["b"].int().tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert weights["b"].flatten().tolist() == pytest.approx([0.1, 0.4, -0.5, 0, 0, 0, 0, 0])


def test_momentum_is_of_dense_gradients() -> None:
    weights = {"a": nn.Parameter(torch.randn(4, 4))}
    pruner = _dnr(weights, 0.75, momentum=0.5)
    for number, gradient in enumerate((8.0, 2.0)):
        weights["a"].grad = torch.full((4, 4), gradient)
        pruner.after_backward(weights, _step(number, 9, 9))
        assert int(weights["a"].grad.count_nonzero()) == 4
    assert pruner.momentum["a"].unique().tolist() == [6]


@pytest.mark.parametrize(("slope", "going"), [(2.0, [1, 2]), (1.0, [5, 2]), (0.5, [5, 2])])
def test_a_nearly_full_layer_that_wants_more_loses_no_more_than_its_share_of_zeros(
    slope: float, going: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nine of ten are active, and four of the other's: half of them go, ceil(4.5) and 2, but of the first above average momentum
    # a tenth of nine.
    counts, drop = [], exchange.without_smallest

    def counting(mask: torch.Tensor, weight: torch.Tensor, count: int) -> torch.Tensor:
        counts.append(count)
        return drop(mask, weight, count)

    monkeypatch.setattr(exchange, "without_smallest", counting)
    weights = {"full": nn.Parameter(torch.ones(1, 10)), "other": nn.Parameter(torch.ones(1, 10))}
    pruner = _dnr(weights)
    pruner.masks = {"full": torch.arange(10).view(1, 10) > 0, "other": torch.arange(10).view(1, 10) > 5}
    weights["full"].grad, weights["other"].grad = torch.full((1, 10), slope), torch.ones(1, 10)
    pruner.after_backward(weights, _step(0))
    pruner.after_step(weights, _step(0))
    assert counts == going
    assert sum(int(mask.sum()) for mask in pruner.masks.values()) == 13


def test_the_last_weight_of_a_layer_stays() -> None:
    weights = {"a": nn.Parameter(torch.ones(1, 4)), "b": nn.Parameter(torch.ones(1, 40))}
    pruner = _dnr(weights, 0.75, exchanged=1.0)
    assert int(pruner.masks["a"].sum()) == 1
    place = pruner.masks["a"].clone()
    # All that is freed goes to the other layer.
    weights["a"].grad, weights["b"].grad = torch.zeros(1, 4), torch.ones(1, 40)
    pruner.after_backward(weights, _step(0))
    pruner.after_step(weights, _step(0))
    assert torch.equal(pruner.masks["a"], place)
    assert int(pruner.masks["b"].sum()) == 10
    assert pruner.warning() == "of a one weight at most is left; valid: allocation igq"
    pruner.masks["a"] |= torch.arange(4) < 2
    assert pruner.warning() is None


def test_the_number_is_exact_whatever_moves() -> None:
    weights = {name: nn.Parameter(torch.randn(shape)) for name, shape in {"a": (8, 9), "b": (20, 30), "c": (3, 4)}.items()}
    pruner = _dnr(weights, 0.8, exchanged_end=0.005)
    start = {name: mask.clone() for name, mask in pruner.masks.items()}
    for number in range(12):
        for place, weight in enumerate(weights.values()):
            weight.grad = (place + 1) * torch.randn(weight.shape)
        pruner.after_backward(weights, _step(number, 12, 2))
        for weight in weights.values():
            weight.data += torch.randn(weight.shape)
        pruner.after_step(weights, _step(number, 12, 2))
        assert not any(weight[~pruner.masks[name]].any() for name, weight in weights.items())
    masks = pruner.end(weights)
    assert sum(int(mask.sum()) for mask in masks.values()) == sum(int(mask.sum()) for mask in start.values()) == 136
    # Momentum moved weights to the layer with the largest.
    assert masks["c"].sum() > start["c"].sum()
    assert pruner.trace() == {f"density of {name}": pytest.approx(float(mask.double().mean())) for name, mask in masks.items()}


@pytest.mark.parametrize(("clean", "expected"), [(0.0, 3.0), (0.25, 0.25 * math.log(4) + 0.75 * 3), (1.0, math.log(4))])
def test_the_loss_is_a_mixture(clean: float, expected: float) -> None:
    # Logits of zero: a cross-entropy of log 4.
    model = nn.Linear(2, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    labels = torch.tensor([0, 3])
    batch = Batch(model, torch.ones(2, 2), labels, None, lambda: torch.tensor(3.0))
    assert functional.cross_entropy(model(batch.images), labels).item() == pytest.approx(math.log(4))
    assert _dnr({"weight": model.weight}, clean=clean).loss(batch).item() == pytest.approx(expected)
