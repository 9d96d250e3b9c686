"""Hours of a study: its work, priced. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sparrow.estimate.rates import Rates
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


def prices(works: Iterable[Work], rates: Rates, finished: Mapping[str, float]) -> list[Price]:
    """The price of each; `finished`, the seconds of jobs that have run, says more than any step."""
    return [_run(work, finished) or _priced(work, rates) for work in works]


def _run(work: Work, finished: Mapping[str, float]) -> Price | None:
    seconds = [finished[job] for job in work.jobs if job in finished]
    if not seconds:
        return None
    return Price(work, sum(seconds) / len(seconds) * len(work.jobs) / 3600, frozenset(["run"]))


def _priced(work: Work, rates: Rates) -> Price:
    if work.untold or work.stage in UNTOLD:
        return Price(work, 0.0, frozenset())
    missing = tuple(unit for unit in work.units if rates.seconds(unit) is None)
    if work.unknown or missing:
        return Price(work, None, frozenset(["unknown"]), missing)
    found = {unit: rates.seconds(unit) for unit in work.units}
    seconds = work.limit + sum(count * found[unit][0] for unit, count in work.units.items())
    by = {how for _, how in found.values()} | ({"limit"} if work.limit else set())
    return Price(work, seconds * len(work.jobs) / 3600, frozenset(by))
