"""The tables of a study's analyses, over all of their jobs, and the columns that they add to the summary."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import analysis_table
from sparrow.files.csv_table import text_of
from sparrow.files.paths import IDENTITY, identity_at
from sparrow.results.specs.analyses import AnalysisTables

TEXTS = ("ratio",)
"""By its ratio a cell is found again: every digit counts."""
MISSING = ["", "nan"]
"""None and NaN, as they are written."""


@dataclass(frozen=True)
class Done:
    """The tables of one job of an analysis."""

    label: str
    place: Path
    """The folder of its subject: a data set, a network, a cell or the study."""
    identity: dict[str, Any]
    """The parts of a checkpoint's identity that its scope determines."""
    tables: dict[str, pd.DataFrame]
    failed: str | None
    """The reason why there are no tables; None if there are."""


def read(path: Path, told: dict[str, AnalysisTables]) -> Done:
    """The file of one job; `told` is what the study says of its analyses, by label.

    Raises SparrowError, naming the file, if it is not what it should be.
    """
    label, place = path.stem, path.parents[1]
    own = told[label]
    found = analysis_table.read(path, {name: tuple(columns) for name, columns in own.tables.items()})
    failed = found if isinstance(found, str) else None
    rows = {} if isinstance(found, str) else found
    tables = {name: _frame(rows.get(name, []), columns) for name, columns in own.tables.items()}
    return Done(label, place, identity_at(own.scope, place), tables, failed)


def _frame(rows: list[list[str]], columns: list[str]) -> pd.DataFrame:
    """Rows as they were written, with columns of numbers where all values of one are numbers, or missing."""
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    text.seek(0)
    # By itself, pandas makes a number of the class 007, and nothing of the class None.
    texts = [name for place, name in enumerate(columns) if name in TEXTS or not _are_numbers({row[place] for row in rows})]
    return pd.read_csv(text, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=MISSING)


def _are_numbers(values: set[str]) -> bool:
    """Whether values of a table are numbers, or truths, and not texts that look like some."""
    found = values - set(MISSING)
    return found <= {"True", "False"} or all(map(_is_number, found))


def _is_number(value: str) -> bool:
    """Whether a number would be written so: not `007` or `1e5`."""
    if re.fullmatch("0|-?[1-9][0-9]*", value):
        return True
    try:
        return value == text_of(float(value))
    except ValueError:
        return False


def collect(found: list[Done], told: dict[str, AnalysisTables]) -> dict[str, pd.DataFrame]:
    """The tables of all jobs by the file that they go to; who each row is about stands in front, and sorts the jobs."""
    collected = {}
    for label, own in told.items():
        done = sorted((one for one in found if one.label == label), key=lambda one: tuple(_sortable(one)))
        for number, (name, columns) in enumerate(own.tables.items()):
            named = [_named(one.tables[name], one.identity) for one in done]
            # An empty one has no types, and would take the others' away.
            parts = [table for table in named if len(table)] or named[:1] or [pd.DataFrame(columns=columns)]
            collected[analysis_table.collected_name(label, number, name)] = pd.concat(parts)
    return collected


def _sortable(one: Done) -> list[Any]:
    return [one.identity[key] for key in IDENTITY if key in one.identity]


def _named(table: pd.DataFrame, identity: dict[str, Any]) -> pd.DataFrame:
    table = table.assign(**identity)
    front = [name for name in IDENTITY if name in table]
    return table[[*front, *(name for name in table.columns if name not in front)]]


def summary_of(done: list[Done], told: dict[str, AnalysisTables]) -> dict[str, Any]:
    """What the analyses of one network add to its line of the summary: the columns LABEL_NAME.

    Raises SparrowError, naming the entry's file, if it gives something else than names and numbers.
    """
    columns: dict[str, Any] = {}
    for one in done:
        kind = told[one.label].kind
        if told[one.label].summary is not None and not one.failed:
            entry = catalogue.load("analyses", kind)
            values = entry.summary(next(iter(one.tables.values())))
            wrong = _wrong(values)
            if wrong:
                raise SparrowError(f"{entry.__file__}: summary gives {wrong}; valid: a dictionary of names and numbers")
            columns |= {f"{one.label}_{name}": value for name, value in values.items()}
    return columns


def _wrong(values: object) -> str | None:
    """What a summary has that is neither a name nor a number; None without any."""
    if not isinstance(values, dict):
        return _in_one_line(values)
    for name, value in values.items():
        if not (isinstance(name, str) and re.fullmatch("[a-z0-9_]+", name)):
            return f"the name {name!r}"
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating, type(None))):
            return f"{name} {_in_one_line(value)}"
    return None


def _in_one_line(value: object) -> str:
    return " ".join(repr(value).split())
