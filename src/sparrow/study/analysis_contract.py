"""What the tables of an analysis have to be, in one clear line where they are not. Imports no torch."""

from __future__ import annotations

import re
from types import ModuleType

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.files.analysis_table import ROWS, TABLE
from sparrow.files.outcome_table import ORIGIN
from sparrow.files.paths import IDENTITY, LABEL, SCOPE_COLUMNS
from sparrow.settings import Analysis

COMPARED = tuple(column for column in IDENTITY if column not in SCOPE_COLUMNS["family"])
"""Columns that tell the networks of a family apart."""
_COLUMN = "[a-z0-9_]+"
SUMMARISED = ("benign", "compact", "data", "effective", "eps", "era", "multiply", "preserved", "sparsity", "vra")
"""What the study's own columns of summary.csv begin with, up to their first `_`: no analysis that has a summary is labelled so,
since its columns are LABEL_NAME."""


def require_names(entry: ModuleType) -> None:
    """Raise ConfigError, naming the file, if an analysis has a table or a column whose name no file or column can have."""
    wrong = _wrong_name(getattr(entry.Params, "tables", None))
    if wrong:
        raise ConfigError(f"{entry.__file__}: Params.tables: {wrong}")


def _wrong_name(tables: object) -> str | None:
    for name, columns in tables.items() if isinstance(tables, dict) else ():
        if not (isinstance(name, str) and re.fullmatch(LABEL, name)):
            return f"{name!r} is no name of a table; valid: lower-case letters and digits, with single hyphens between them"
        if not isinstance(columns, tuple):
            return f"{name} has {columns!r} for its columns; valid: a tuple of names, such as ('layer', 'images')"
        for column in columns:
            if not (isinstance(column, str) and re.fullmatch(_COLUMN, column)):
                return f"{name} has the column {column!r}; valid: a name of lower-case letters, digits and _"
    return None


def require_tables(entry: ModuleType) -> None:
    """Raise ConfigError, naming the file, if an analysis' tables do not go with its scope, or its functions with either."""
    wrong = _wrong(entry, entry.Params)
    if wrong:
        raise ConfigError(f"{entry.__file__}: {wrong}")


def _wrong(entry: ModuleType, params: type[Analysis]) -> str | None:
    scope, tables = params.scope, params.tables
    if not tables or not all(tables.values()):
        return f"Params.tables is {tables!r}; valid: at least one table, each with its columns"
    # Of one that needs what its options say, nobody knows here.
    needs = () if isinstance(params.needs, property) else params.needs
    lacking = [need for need in needs if scope == "dataset" or (scope == "tables" and need != "outputs")]
    if lacking:
        return f"Params.needs has {lacking[0]!r}, but an analysis of scope {scope} is given no network"
    for name, columns in tables.items():
        twice = sorted({column for column in columns if columns.count(column) > 1})
        known = sorted(set(columns) & {*SCOPE_COLUMNS[scope], TABLE, ROWS, *ORIGIN})
        if twice or known:
            why = "is there twice" if twice else f"the study puts beside every row of scope {scope}"
            return f"Params.tables: {name} has the column {(twice or known)[0]!r}, which {why}"
    if params.timed and (scope != "family" or len(tables) > 1 or not set(COMPARED) <= set(next(iter(tables.values())))):
        return f"Params.timed is True; valid: for scope family, with one table that has the columns {', '.join(COMPARED)}"
    wrong = _wrong_reading(params)
    if wrong:
        return wrong
    if hasattr(entry, "summary") and scope not in ("network", "pair"):
        return f"defines summary, but its scope is {scope}; valid: network or pair"
    return None


def _wrong_reading(params: type[Analysis]) -> str | None:
    if params.reads and params.scope != "tables":
        return f"Params.reads has {params.reads[0]!r}, but its scope is {params.scope}; valid: for scope tables"
    for kind in params.reads:
        if kind not in catalogue.kinds("analyses"):
            return f"Params.reads has {kind!r}; valid: kinds of analyses, {', '.join(catalogue.kinds('analyses'))}"
        other = catalogue.load("analyses", kind).Params
        if other.timed or other.scope == "tables":
            why = "its numbers are timings" if other.timed else "its own scope is tables"
            return f"Params.reads has {kind!r}, which is not read, for {why}"
    return None
