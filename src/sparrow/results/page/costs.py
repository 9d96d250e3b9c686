"""What the study took: seconds, memory and gradient evaluations of each kind of job."""

from __future__ import annotations

import pandas as pd

from sparrow.results.page import words
from sparrow.results.page.grid import Column, Grid, grid, numbers, texts
from sparrow.results.page.study_data import StudyData
from sparrow.results.tables import costs_by_stage


def costs(data: StudyData) -> tuple[Grid, str]:
    """The grid of costs.csv, a row for each stage and entry, and all of them in a sentence."""
    jobs = data.table("costs")
    table = costs_by_stage(jobs)
    columns = [
        Column("stage", "text", texts(table["stage"])),
        Column("what", "text", texts(table["what"])),
        Column("jobs", "number", numbers(table["jobs"])),
        Column("seconds", "number", numbers(table["seconds"].round(1))),
        Column("slowest job (s)", "number", numbers(table["slowest"].round(1))),
        Column("peak memory (MiB)", "number", numbers(table["peak_memory_mb"].round())),
        Column("gradient evaluations", "number", numbers(table["gradient_evaluations"])),
    ]
    return grid("costs", columns), _in_words(jobs)


def _in_words(jobs: pd.DataFrame) -> str:
    seconds = float(jobs["seconds"].sum())
    minutes = words.count(round(seconds / 60), "minute") if seconds >= 30 else "less than a minute"
    time = f"{seconds / 3600:.1f} hours" if seconds > 5400 else minutes
    start = "it" if len(jobs) == 1 else "them"
    return f"{words.count(len(jobs), 'job')} took {time} of work, added up, without the time that it takes to start {start}."
