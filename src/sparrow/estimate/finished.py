"""Seconds of a study's jobs that have run, as the study is now. Imports no torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sparrow.catalogue import Room, module_name
from sparrow.errors import CheckpointError, SparrowError
from sparrow.estimate.work import Work
from sparrow.files.cost import read_cost
from sparrow.files.headers import OUTPUTS_FORMAT, read_header
from sparrow.files.lineage import DATA
from sparrow.files.paths import COST, INITIAL, NETWORK, OUTPUTS, TABLE, checkpoint_of, data_path, parse, study_table
from sparrow.study import analyses, job_specs
from sparrow.study.code_digest import is_own
from sparrow.study.config import Study


def finished_jobs(study: Study, works: Iterable[Work]) -> dict[str, float]:
    """Seconds of each job that has run, by the path of its cost: its `*.cost.json`, or else its row in `costs.csv`.

    A cost is left out if the file beside it was made under another configuration, or by other code of entries of one's own.
    Of a table of outcomes, the number of images and the configuration of its checkpoint are compared; the settings of its
    attack or verifier are not known.
    Raises SparrowError, naming the file, if a cost cannot be read.
    """
    results, found = Path(study.results), {}
    table, current = _table(results / study_table("costs")), _current(study)
    for work in works:
        for job in work.jobs:
            seconds = _own(results / f"{job}{COST}")
            seconds = table.get(job) if seconds is None else seconds
            if seconds is not None and current(work, job):
                found[job] = seconds
    return found


def _table(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        try:
            return {line["job"]: float(line["seconds"]) for line in csv.DictReader(file)}
        except (KeyError, TypeError, ValueError):
            raise SparrowError(f"{path}: not a table of costs; it must have the columns job and seconds") from None


def _own(path: Path) -> float | None:
    if not path.is_file():
        return None
    return read_cost(path)["seconds"]


def _current(study: Study) -> Callable[[Work, str], bool]:
    """A function: whether a job's output is of the study's present configuration, as far as headers and tables show."""
    results = Path(study.results)

    @cache
    def data(label: str) -> str | None:
        """The digest of a data set; None if it was not prepared as the study is now."""
        header = _header(results / data_path(label), DATA)
        as_configured = header.get("dataset") == _plain(job_specs.data_spec(study, label).dataset)
        return header["digest"] if as_configured else None

    @cache
    def network(path: str) -> bool:
        own, spec = _header(results / f"{path}{NETWORK}"), job_specs.checkpoint_spec(study, parse(path))
        same = (own.get("model"), own.get("config")) == (_plain(spec.model), _plain(spec.config()))
        same = same and (own.get("code") == spec.code or not any(map(is_own, _modules(spec))))
        # An initial network knows no images.
        return same and (own["stage"] == INITIAL or own["data"] == data(parse(path).parent.dataset))

    analysed = {job.path: {one.path for one in (*job.networks, *job.dense)} for job in analyses.all_jobs(study)}

    def current(work: Work, job: str) -> bool:
        if work.stage in ("data", "corrupt"):
            return data(work.dataset) is not None
        if work.stage in ("attack", "verify") and _rows(results / f"{job}{TABLE}") != work.images:
            return False
        if work.stage == "analyse":
            return all(map(network, analysed[job])) if analysed[job] else data(work.dataset) is not None
        if work.stage == OUTPUTS:
            config = job_specs.outputs_spec(study, work.model).config()
            if _header(results / f"{job}{NETWORK}", OUTPUTS_FORMAT).get("config") != _plain(config):
                return False
        checkpoint = checkpoint_of(job)
        return checkpoint is not None and network(checkpoint.path)

    return current


def _modules(spec: Any) -> Iterator[str]:
    """Full names of the modules of the entries by which a checkpoint is made."""
    rooms: dict[str, Room] = {"model": "models", "objective": "objectives", "method": "methods"}
    for name, room in rooms.items():
        entry = getattr(spec, name, None)
        if entry:
            yield module_name(room, entry["kind"])


def _header(path: Path, *expected: str) -> dict[str, Any]:
    """The header of a file; empty if it is missing or damaged, and so will be made anew."""
    try:
        return read_header(path, *expected)
    except CheckpointError:
        return {}


def _rows(path: Path) -> int | None:
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return sum(1 for _ in file) - 1


def _plain(value: Any) -> Any:
    """`value` after a round trip through JSON, as headers have it."""
    return json.loads(json.dumps(value))
