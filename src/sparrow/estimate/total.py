"""Hours of a study's work. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sparrow.estimate.rates import Rate, Rates
from sparrow.estimate.unit import Unit
from sparrow.estimate.work import NOT_PRICED, Work


class Price(NamedTuple):
    """Hours of all jobs of one kind."""

    work: Work
    hours: float | None
    """The jobs' hours together; None if unknown."""
    by: frozenset[str]
    """Sources of the hours: `measured` (steps), `nearest` (bounds of another number of images at a time), `derived` (from
    multiply-adds), `whole` (of a network with all of its filters, where some are gone), `limit` (a verifier's time limit),
    `run` (jobs of this study that have run), `unknown`; empty for stages that take seconds."""
    missing: tuple[Unit, ...] = ()
    """Units whose multiply-adds are unknown."""
    rates: Mapping[Unit, Rate] = MappingProxyType({})
    """What the others are priced by."""


def prices(works: Iterable[Work], rates: Rates, finished: Mapping[str, float]) -> list[Price]:
    """The price of each work; from `finished`, the seconds of jobs that have run, if it has any of them."""
    return [_run(work, finished) or _priced(work, rates) for work in works]


def _run(work: Work, finished: Mapping[str, float]) -> Price | None:
    seconds = [finished[job] for job in work.jobs if job in finished]
    if not seconds:
        return None
    return Price(work, sum(seconds) / len(seconds) * len(work.jobs) / 3600, frozenset(["run"]))


def _priced(work: Work, rates: Rates) -> Price:
    if work.not_priced or work.stage in NOT_PRICED:
        return Price(work, 0.0, frozenset())
    found = {unit: rate for unit in work.units if (rate := rates.rate(unit)) is not None}
    missing = tuple(unit for unit in work.units if unit not in found)
    if work.unknown or missing:
        return Price(work, None, frozenset(["unknown"]), missing, found)
    seconds = work.limit + sum(count * found[unit].seconds for unit, count in work.units.items())
    by = {rate.by for rate in found.values()} | ({"limit"} if work.limit else set())
    return Price(work, seconds * len(work.jobs) / 3600, frozenset(by), rates=found)
