"""What every job of an analysis does around the entry's own code: seed, cost, resume point, journal, and the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import analysis_table, content
from sparrow.files.headers import DATA_FORMAT, read_header
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import seed_everything
from sparrow.settings import Analysis
from sparrow.stages._analysis_rows import rows_by_table
from sparrow.stages.specs.analysis import AnalysisSpec


def run(
    output: Path, cost: Path, spec: AnalysisSpec, networks: list[Path], read: list[Path], subject: Callable[..., object]
) -> None:
    """Write the table `output` of the analysis `spec.analysis`.

    `networks` are the checkpoints that it is about, `read` all files that it may read, and `subject(params, generator)` is
    what it is given. Raises SparrowError, naming the entry's file, if what it gives is no rows.
    """
    entry, params = catalogue.from_spec("analyses", spec.analysis)
    if not isinstance(params, Analysis):
        raise SparrowError(f"{entry.__file__}: Params must come from sparrow.settings.Analysis")
    with resumable(output, spec.model_dump(), *read) as resume, record_cost(cost):
        generator: torch.Generator = seed_everything(spec.seed, spec.analysis["kind"])
        with journal.open_journal(resume, generator):
            found = entry.analyse(subject(params, generator), params)
            rows = rows_by_table(found, params.tables, entry.__file__)
            analysis_table.write(output, params.tables, rows, origin(networks, read, spec))


def origin(networks: list[Path], read: list[Path], spec: AnalysisSpec) -> tuple[str, str, str]:
    """What a table is about: the columns `ORIGIN`; of data, nothing where there are several data sets or none."""
    data = [path for path in read if path.name == "data.safetensors"]
    digest = read_header(data[0], DATA_FORMAT)["digest"] if len(data) == 1 else ""
    return (
        content.of_networks(content.of_header(read_header(path)) for path in networks),
        digest[: content.SHORT],
        content.of_spec(spec.model_dump()),
    )
