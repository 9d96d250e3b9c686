"""One table of an analysis over all of its jobs.

A rule of its own for each: what aggregation makes is the same files in every study, and so runs again whenever what it reads
changes. Of a job with a file that it has never made, Snakemake heeds neither inputs nor params.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparrow.results import analyses
from sparrow.results.table_file import write_table


def write_collected(tables: list[Path], output: Path, analysis: dict[str, Any]) -> None:
    """Write the rows of all jobs' `tables` that belong in `output`, whose name says which of the analysis's tables that is.

    `analysis` is what the study says of it, by its label. Raises SparrowError for a file that is no table of it, or was cut.
    """
    found = [analyses.read(path, analysis) for path in tables]
    write_table(analyses.collect(found, analysis)[output.name], output)
