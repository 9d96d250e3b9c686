"""IWI, as it is read here: a small network, a large one that inherits from it, and a pruned one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow.methods import iwi
from sparrow.training.loop import Step


def ran(ratio: float, learned: float = 1.0, **params: object) -> list[list[float]]:
    """A layer's weights after `start` and after each of six steps, in which training adds `learned` to what has a gradient."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0]]))
    weights = {"layer": weight}
    pruner = iwi.prepare(iwi.Params(**params), ratio, torch.Generator())
    assert pruner.start(weights, None) == [weight]
    seen = [weight.flatten().tolist()]
    for number in range(6):
        step = Step(number, 6, 6, 6, 0.1, lambda: None)
        weight.grad = torch.ones_like(weight)
        pruner.after_backward(weights, step)
        weight.data += learned * weight.grad
        pruner.after_step(weights, step)
        seen.append(weight.flatten().tolist())
    assert pruner.end(weights)["layer"].flatten().tolist() == [value != 0 for value in seen[-1]]
    return seen


def test_by_hand() -> None:
    assert ran(0.75) == [
        [0, 0, 0, 0, 5, -6, 7, -8],
        [0, 0, 0, 0, 6, -5, 8, -7],
        # What was pruned is set free from here, and begins at zero.
        [0, 0, 0, 0, 7, -4, 9, -6],
        [1, 1, 1, 1, 8, -3, 10, -5],
        # Of eight, the two largest stay.
        [0, 0, 0, 0, 9, 0, 11, 0],
        [0, 0, 0, 0, 10, 0, 12, 0],
        [0, 0, 0, 0, 11, 0, 13, 0],
    ]


@pytest.mark.parametrize(("ratio", "zeros"), [(0.25, 2), (0.5, 4), (0.875, 4)])
def test_the_small_network_is_no_smaller_than_the_pruned_one(ratio: float, zeros: int) -> None:
    # Weights that stay at zero (their inputs may) would be kept otherwise.
    assert ran(ratio, 0.3)[0].count(0) == zeros
