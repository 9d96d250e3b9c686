"""Undecayed pruning by hand, and the two criteria that it lies between."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.training.loop import Step


def masks(kind: str, weights: dict[str, nn.Parameter], seen: list[dict[str, Tensor]], **params: object) -> dict[str, Tensor]:
    """The masks of a method at ratio 1/3 after batches that gave the gradients `seen`."""
    entry = catalogue.load("methods", kind)
    pruner = entry.prepare(entry.Params(**params), 1 / 3, torch.Generator())
    pruner.start(weights, None)
    for number, gradients in enumerate(seen if kind != "lwm" else []):
        for name, weight in weights.items():
            weight.grad = gradients[name]
        pruner.after_backward(weights, Step(number, 4, 4, 4, 0.1, lambda: None))
    return pruner.end(weights)


def test_undecayed_by_hand() -> None:
    # |-w g + 0.1 w^2|: |-0.1 + 0.1|, |0.2 + 0.4|, |0.1 + 0.025|, the gradient being the mean of two batches.
    weights = {"layer": nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))}
    seen = [{"layer": torch.tensor([row])} for row in ([0.3, 0.0, -0.2], [-0.1, 0.2, -0.2])]
    found = masks("undecayed", weights, seen, decay=0.1, batches=2)["layer"]
    assert found.tolist() == [[False, True, True]]
    # Magnitude, and what `decay` takes it for, drop the third; the sensitivities 0.1, 0.2 and 0.1 drop the first.
    assert masks("lwm", weights, [], allocation="global")["layer"].tolist() == [[True, True, False]]
    assert weights["layer"].tolist() == [[1, -2, 0.5]]


@pytest.mark.parametrize(("decay", "stationary", "like"), [(0.0, False, "snip"), (0.3, True, "lwm"), (1e6, False, "lwm")])
def test_it_lies_between_sensitivity_and_magnitude(decay: float, stationary: bool, like: str) -> None:
    weights = {"small": nn.Parameter(torch.randn(4, 6)), "large": nn.Parameter(3 * torch.randn(5, 4))}
    random = {name: torch.randn(weight.shape) for name, weight in weights.items()}
    gradients = {name: -decay * weight.detach() for name, weight in weights.items()} if stationary else random
    found = masks("undecayed", weights, [gradients], decay=decay)
    expected = masks(like, weights, [gradients], allocation="global")
    assert all(torch.equal(found[name], expected[name]) for name in weights)
    other = masks("undecayed", weights, [random], decay=0.3)
    assert any(not torch.equal(found[name], other[name]) for name in weights)
