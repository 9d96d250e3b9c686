"""Flying Bird: which weights go and come, and when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow.methods import flying_bird
from sparrow.pruning.exchange import LayerwiseExchange
from sparrow.training.loop import Step

W = [0.5, 0.0, -0.1, 0.0, 0.9, -0.3, 0.0, 0.0]


def _step(number: int, total: int = 2, per_epoch: int = 1) -> Step:
    return Step(number, total, per_epoch, total, 0.1, lambda: None)


def _bird(weights: dict, ratio: float = 0.5, **params: object) -> LayerwiseExchange:
    """A bird on `weights`, whose masks are where these are not zero."""
    settings = {"every": 1, "every_late": 1, "exchanged_end": 0.5, "rescale": False} | params
    bird = flying_bird.prepare(flying_bird.Params(**settings), ratio, torch.Generator().manual_seed(0))
    bird.network = nn.Identity()
    assert [id(one) for one in bird.start(weights, None)] == [id(one) for one in weights.values()]
    return bird


def test_an_exchange_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Half of four go, -0.1 and -0.3, and two of the six free places come: the third, whose weight had just gone, the fourth.
    weights = {"layer": nn.Parameter(torch.tensor([W]))}
    bird = _bird(weights)
    weights["layer"].data = torch.tensor([W])
    bird.masks = {"layer": torch.tensor([W]) != 0}
    # Free are 1, 2, 3, 5, 6 and 7.
    monkeypatch.setattr(torch, "randperm", lambda count, generator: torch.tensor([1, 2, 0, 3, 4, 5]))
    bird.after_step(weights, _step(0))
    assert weights["layer"].flatten().tolist() == pytest.approx([0.5, 0, -0.1, 0, 0.9, 0, 0, 0])
    assert bird.masks["layer"].int().tolist() == [[1, 0, 1, 1, 1, 0, 0, 0]]


def test_by_gradient_the_steepest_of_the_dense_ones_come() -> None:
    weights = {"layer": nn.Parameter(torch.tensor([W]))}
    bird = _bird(weights, growth="gradient")
    weights["layer"].data = torch.tensor([W])
    bird.masks = {"layer": torch.tensor([W]) != 0}
    weights["layer"].grad = torch.tensor([[8.0, 1.0, 2.0, -4.0, 8.0, 0.0, 0.5, 3.0]])
    bird.after_backward(weights, _step(0))
    # What is outside does not move.
    assert weights["layer"].grad.tolist() == [[8, 0, 2, 0, 8, 0, 0, 0]]
    bird.after_step(weights, _step(0))
    assert bird.masks["layer"].int().tolist() == [[1, 0, 0, 1, 1, 0, 0, 1]]
    # The next exchange has to have gradients of its own.
    bird.after_backward(weights, _step(1))
    assert bird.gradients == {}


@pytest.mark.parametrize(
    ("params", "after"),
    [
        # 46 steps are 2.56 epochs of 18, 61 are 3.41; multiples of 46 in the first 270 steps, of 61 after that.
        ({}, [46, 92, 138, 184, 230, 305, 366, 427]),
        ({"every": 5, "every_late": 5}, [90, 180, 270, 360, 450]),
        ({"every": 40}, [305, 366, 427]),
        ({"every": 40, "every_late": 40}, []),
    ],
)
def test_exchanges_are_epochs_apart_and_rarer_in_the_second_half(params: dict, after: list) -> None:
    bird = flying_bird.prepare(flying_bird.Params(**params), 0.9, torch.Generator())
    steps = [_step(number, 540, 18) for number in range(540)]
    assert [step.number + 1 for step in steps if bird.is_due(step)] == after
    assert [step.number + 1 for step in steps if bird.is_due(step) and bird.is_last(step)] == after[-1:]


@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_each_layer_keeps_its_number_and_nothing_outside_moves(growth: str) -> None:
    weights = {name: nn.Parameter(torch.randn(shape)) for name, shape in {"a": (8, 9), "b": (20, 30)}.items()}
    bird = _bird(weights, 0.8, growth=growth, exchanged_end=0.005)
    # The quotas spare the smaller layer.
    kept = {name: int(mask.sum()) for name, mask in bird.masks.items()}
    assert sum(kept.values()) == round(0.2 * 672)
    assert kept["a"] / 72 > 2 * kept["b"] / 600
    seen = [{name: mask.clone() for name, mask in bird.masks.items()}]
    for number in range(12):
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape)
        bird.after_backward(weights, _step(number, 12, 2))
        for name, weight in weights.items():
            assert not weight.grad[~bird.masks[name]].any()
            weight.data += torch.randn(weight.shape)
        bird.after_step(weights, _step(number, 12, 2))
        assert {name: int(mask.sum()) for name, mask in bird.masks.items()} == kept
        assert not any(weight[~bird.masks[name]].any() for name, weight in weights.items())
        seen.append({name: mask.clone() for name, mask in bird.masks.items()})
    changed = [number for number in range(12) if not torch.equal(seen[number]["b"], seen[number + 1]["b"])]
    assert changed == [1, 3, 5, 7, 9]
    masks = bird.end(weights)
    assert all(torch.equal(masks[name], seen[-1][name]) for name in weights)


def test_a_layer_that_is_full_stays_full() -> None:
    weights = {"a": nn.Parameter(torch.randn(3, 3))}
    bird = _bird(weights, 0.0)
    bird.after_step(weights, _step(0))
    assert bird.masks["a"].all()
    assert weights["a"].all()
