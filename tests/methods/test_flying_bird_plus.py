"""Flying Bird+: when its density moves, and that it ends at the ratio."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow.methods import flying_bird_plus
from sparrow.pruning.exchange import LayerwiseExchange
from sparrow.training.loop import CurveRow, Step

LOSSES = [1.0, 1.1, 1.05, 1.2, 1.3]
GAPS = [5.0, 6.0, 7.0, 6.5, 8.0]


def _step(number: int, total: int = 20) -> Step:
    return Step(number, total, 2, total, 0.1, lambda: None)


def _bird(size: int = 100, ratio: float = 0.8, rows: list | None = None, **params: object) -> tuple[LayerwiseExchange, dict]:
    """A bird on one layer, and its weights, all of which are 1 but for its masks; `rows` are losses and gaps of past epochs."""
    settings = {"every": 1, "every_late": 1, "rescale": False} | params
    bird = flying_bird_plus.prepare(flying_bird_plus.Params(**settings), ratio, torch.Generator().manual_seed(0))
    bird.network = nn.Identity()
    weights = {"layer": nn.Parameter(torch.arange(1.0, size + 1).view(1, size))}
    bird.start(weights, None)
    for epoch, (loss, gap) in enumerate(rows or []):
        bird.epoch(CurveRow(epoch + 1, 0.1, 1.0, loss - gap, loss, 0.5, None))
    return bird, weights


def test_rises_by_hand() -> None:
    assert flying_bird_plus.rises(LOSSES, level=True) == 0.75
    assert flying_bird_plus.rises(GAPS) == 0.75
    assert flying_bird_plus.rises([1, 1, 0]) == 0
    assert flying_bird_plus.rises([1, 1, 0], level=True) == 0.5
    assert flying_bird_plus.rises([1]) == flying_bird_plus.rises([]) == 0


FLAT = [4.0, 3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("losses", "gaps", "change"),
    [
        # Of 40 weights after 10 of 20 steps the share 0.2525 is 11, and 0.4 of that 5 more; 1.05 times 11 are 12.
        (FLAT, FLAT, 0),
        (FLAT, GAPS, -5),
        (LOSSES, FLAT, 1),
        (LOSSES, GAPS, -4),
        # The last five count.
        ([0.0, 9.0, 0.0, 9.0, *FLAT], [0.0, 1.0, 2.0, 3.0, *FLAT], 0),
    ],
)
def test_the_density_moves_by_what_the_curves_say(losses: list, gaps: list, change: int) -> None:
    bird, weights = _bird(rows=list(zip(losses, gaps, strict=True)), surplus=1.0)
    assert bird.kept() == 40
    bird.after_step(weights, _step(9))
    assert bird.kept() == 40 + change
    assert bird.trace() == {"density": pytest.approx((40 + change) / 100)}


def test_what_goes_and_comes_by_hand() -> None:
    # Of four, at a share of one half, 2 and ceil(0.8) go, and round(1.05 * 2) come.
    rows = list(zip(LOSSES, GAPS, strict=True))
    bird, weights = _bird(size=20, ratio=0.9, rows=rows, surplus=1.0, exchanged_end=0.5)
    assert bird.kept() == 4
    bird.after_step(weights, _step(9))
    assert bird.kept() == 3


def test_in_the_first_half_nothing_moves() -> None:
    bird, weights = _bird(rows=list(zip(LOSSES, GAPS, strict=True)), surplus=1.0)
    before = bird.masks["layer"].clone()
    bird.after_step(weights, _step(7))
    assert bird.kept() == 40
    assert not torch.equal(bird.masks["layer"], before)


def test_the_density_falls_to_that_of_the_ratio_and_no_further() -> None:
    bird, weights = _bird(rows=list(zip(FLAT, GAPS, strict=True)), surplus=0.1, extra_pruned=2.0)
    assert bird.kept() == 22
    bird.after_step(weights, _step(9))
    assert bird.kept() == 20
    bird.after_step(weights, _step(11))
    assert bird.kept() == 20


def test_the_last_exchange_keeps_the_largest_and_nothing_comes() -> None:
    bird, weights = _bird(surplus=1.0)
    largest = weights["layer"].flatten().sort().indices[-20:].sort().values
    bird.after_step(weights, _step(17))
    assert bird.masks["layer"].flatten().nonzero().flatten().tolist() == largest.tolist()
    assert torch.equal(bird.end(weights)["layer"], bird.masks["layer"])


@pytest.mark.parametrize(("ratio", "surplus"), [(0.8, 0.5), (0.99, 0.5), (0.3, 0.5), (0.8, 0.0), (0.9, 3.0)])
def test_without_an_exchange_the_end_has_the_ratio(ratio: float, surplus: float) -> None:
    bird, weights = _bird(ratio=ratio, surplus=surplus, every=99, every_late=99)
    assert bird.kept() == min(100, round((1 + surplus) * (1 - ratio) * 100 + 1e-9))
    assert int(bird.end(weights)["layer"].sum()) == round(100 * (1 - ratio))
