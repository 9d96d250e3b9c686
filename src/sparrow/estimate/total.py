"""Hours of a study: its work, priced. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sparrow.estimate.rates import Rates, cost_of, finished
from sparrow.estimate.unit import Unit
from sparrow.estimate.work import UNTOLD, Work


class Price(NamedTuple):
    """What the jobs of one kind take, in all."""

    work: Work
    hours: float | None
    """None where it is not known."""
    by: frozenset[str]
    """How that is known: `measured` (steps), `derived` (from multiply-adds), `limit` (a verifier's time), `run` (jobs of
    this study that have run); nothing for what takes seconds."""
    missing: tuple[Unit, ...] = ()
    """What nobody has counted."""


def prices(works: Iterable[Work], rates: Rates, results: Path) -> list[Price]:
    """The price of each; jobs of the study that have run say more than any step. Raises SparrowError for damaged costs."""
    known = finished(results)
    return [_run(work, known, results) or _priced(work, rates) for work in works]


def _run(work: Work, known: dict[str, float], results: Path) -> Price | None:
    own = [known.get(job) if (found := cost_of(results, job)) is None else found for job in work.jobs]
    seconds = [one for one in own if one is not None]
    if not seconds:
        return None
    return Price(work, sum(seconds) / len(seconds) * len(work.jobs) / 3600, frozenset(["run"]))


def _priced(work: Work, rates: Rates) -> Price:
    if work.stage in UNTOLD:
        return Price(work, 0.0, frozenset())
    missing = tuple(unit for unit in work.units if rates.seconds(unit) is None)
    if work.unknown or missing:
        return Price(work, None, frozenset(["unknown"]), missing)
    found = {unit: rates.seconds(unit) for unit in work.units}
    seconds = work.limit + sum(count * found[unit][0] for unit, count in work.units.items())
    by = {how for _, how in found.values()} | ({"limit"} if work.limit else set())
    return Price(work, seconds * len(work.jobs) / 3600, frozenset(by))
