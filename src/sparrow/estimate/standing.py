"""How far a study is: its jobs that are finished, those that have begun, and the seconds that the others will take. Imports no
torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean

from sparrow.estimate.work import NOT_PRICED, Work
from sparrow.files.headers import failure
from sparrow.files.outcome_table import FAILED
from sparrow.files.paths import COST, NETWORK, OUTPUTS, TABLE, checkpoint_of, log_path, parse
from sparrow.study import cells
from sparrow.study.config import Study

AGE = 24 * 3600
"""A log that nothing has been written to for so many seconds is of a job that was given up."""


@dataclass
class Standing:
    """The jobs of one stage."""

    stage: str
    jobs: int = 0
    finished: int = 0
    failed: int = 0
    """Of the finished ones, those whose result says why there is none."""
    spent: float = 0.0
    """Seconds of the finished jobs, added up."""
    left: float = 0.0
    """Seconds that the others will take, as far as that can be told from jobs like them."""
    untold: int = 0
    """Jobs that are left, and like none that has finished."""


@dataclass(frozen=True)
class Begun:
    """A job that has begun and is not finished."""

    job: str
    log: Path
    silent: float
    """Seconds since something was written to its log."""
    line: str
    """The log's last line."""


@dataclass
class Whole:
    """All stages of a study, in their order, and the jobs that have begun."""

    stages: dict[str, Standing] = field(default_factory=dict)
    begun: list[Begun] = field(default_factory=list)

    @property
    def total(self) -> Standing:
        """All stages together."""
        found = list(self.stages.values())
        return Standing(
            "total",
            sum(one.jobs for one in found),
            sum(one.finished for one in found),
            sum(one.failed for one in found),
            sum(one.spent for one in found),
            sum(one.left for one in found),
            sum(one.untold for one in found),
        )


def standing(works: Iterable[Work], finished: Mapping[str, float], results: Path) -> Whole:
    """How far the `works` of a study with the folder `results` are; `finished` has the seconds of the jobs that have run."""
    works, whole = list(works), Whole()
    like = _like(works, finished)
    for work in works:
        one = whole.stages.setdefault(work.stage, Standing(work.stage))
        done = [job for job in work.jobs if job in finished]
        left = [job for job in work.jobs if job not in finished]
        one.jobs += len(work.jobs)
        one.finished += len(done)
        one.failed += sum(_failed(results, job, work.stage) for job in done)
        one.spent += sum(finished[job] for job in done)
        seconds = like(work)
        if seconds is not None:
            one.left += seconds * len(left)
        elif not (work.not_priced or work.stage in NOT_PRICED):
            one.untold += len(left)
        whole.begun += filter(None, (_begun(results, job) for job in left))
    whole.begun.sort(key=lambda begun: begun.silent)
    return whole


def up_to_date(study: Study, finished: Mapping[str, float]) -> dict[str, float]:
    """The `finished` jobs, without those that are made or read from a checkpoint that is to be made anew."""

    @cache
    def there(path: str) -> bool:
        one = parse(path)
        return path in finished and all(there(other.path) for other in cells.read_by(study, one))

    def is_current(job: str) -> bool:
        one = checkpoint_of(job)
        return one is None or one.path in study.imports or there(one.path)

    return {job: seconds for job, seconds in finished.items() if is_current(job)}


def _like(works: list[Work], finished: Mapping[str, float]) -> Callable[[Work], float | None]:
    """A function: the mean seconds of the finished jobs that are like those of a work, or None if there are none.

    Like are those of the same work; else those of the same stage and entry, of whatever network; else those of the same stage.
    """
    known: dict[tuple, list[float]] = {}
    for work in works:
        seconds = [finished[job] for job in work.jobs if job in finished]
        for key in _keys(work):
            known.setdefault(key, []).extend(seconds)

    def seconds_of(work: Work) -> float | None:
        return next((mean(known[key]) for key in _keys(work) if known[key]), None)

    return seconds_of


def _keys(work: Work) -> list[tuple]:
    """From the nearest likeness to the farthest. Attacks, verifiers and analyses are like none of another name."""
    own = (work.stage, work.dataset, work.model, work.objective, work.entry, work.filters_gone)
    keys: list[tuple] = [own, own[:5], (work.stage, work.dataset, work.model, work.entry)]
    return keys if work.stage in ("attack", "verify", "analyse") else [*keys, own[:3]]


def _failed(results: Path, job: str, stage: str) -> bool:
    """Whether a finished job's file says why there is no result."""
    table, network = results / f"{job}{TABLE}", results / f"{job}{NETWORK}"
    if table.is_file():
        with open(table, encoding="utf-8") as file:
            return file.readline().strip().split(",") == FAILED
    return stage not in (*NOT_PRICED, OUTPUTS) and network.is_file() and failure(network) is not None


def _begun(results: Path, job: str) -> Begun | None:
    """The job, if it has a log that was written to of late, and no cost."""
    log = results / log_path(job)
    if not log.is_file() or (results / f"{job}{COST}").is_file():
        return None  # Not begun; or finished, under another configuration.
    silent = time.time() - log.stat().st_mtime
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return Begun(job, log, silent, lines[-1] if lines else "") if silent < AGE else None


def spoken(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
