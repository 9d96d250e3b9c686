"""Which tables and figures come of a study's analyses. Imports no torch, and no configuration, whose kinds are those of now."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from sparrow import catalogue
from sparrow.files import analysis_table
from sparrow.files.paths import TABLE
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.study.code_digest import function_digest

if TYPE_CHECKING:
    from sparrow.study.config import Study

OWN_TABLES = (
    *("outcomes", "summary", "layers", "recall", "intensification", "ranking", "security", "decisions", "costs", "budgets"),
    *("provenance", "published", "headline"),
)
"""What every study may have in its results folder; no analysis has one of these labels, nor that of a figure."""


def table_names(study: Study, label: str) -> list[str]:
    """The files, in the results folder, that all jobs of an analysis are collected in: LABEL.csv, and LABEL.TABLE.csv of each
    table besides the first."""
    return [analysis_table.collected_name(label, number, table) for number, table in enumerate(study.analyses[label].tables)]


def drawn(study: Study) -> dict[str, list[str]]:
    """The analyses that have a figure, with the tables that it is drawn from."""
    return {
        label: table_names(study, label)
        for label, entry in study.analyses.items()
        if hasattr(catalogue.load("analyses", entry.kind), "draw")
    }


def collected(study: Study) -> dict[str, str]:
    """The analysis (its label) that each table over all jobs is of, by its file's name without suffix; none of a timed one."""
    return {
        name.removesuffix(TABLE): label
        for label, entry in study.analyses.items()
        if not entry.timed
        for name in table_names(study, label)
    }


def collect_spec(study: Study, timed: bool, label: str | None = None) -> dict[str, AnalysisTables]:
    """What collecting the tables of all analyses (or of the one with that label) reads, by label: kind, scope and columns; of
    those that have a summary, its code."""
    return {
        name: AnalysisTables(
            kind=params.kind,
            scope=params.scope,
            tables={table: list(columns) for table, columns in params.tables.items()},
            summary=_summary_code(params.kind),
        )
        for name, params in study.analyses.items()
        if params.timed == timed and label in (None, name)
    }


def _summary_code(kind: str) -> str | None:
    if not hasattr(catalogue.load("analyses", kind), "summary"):
        return None
    return function_digest(catalogue.module_name("analyses", kind), "summary")


def captions(study: Study) -> dict[str, dict[str, str]]:
    """What the report says of each analysis, in its file's words: of its `table` and `figure`."""
    found = {}
    for label, entry in study.analyses.items():
        module = catalogue.load("analyses", entry.kind)
        about = inspect.getdoc(module) or ""
        figure = inspect.getdoc(getattr(module, "draw", None)) or ""
        found[label] = {"table": about.split("\n\nSource:")[0], "figure": figure}
    return found
