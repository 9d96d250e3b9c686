"""What the file of an analysis declares, checked where the study is planned, so that a mistake in it is one line. No torch."""

from __future__ import annotations

from types import ModuleType
from typing import get_args

from sparrow.errors import ConfigError
from sparrow.files.outcome_table import ORIGIN
from sparrow.settings import Analysis, Need, Scope

_CELL = {"dataset", "model", "objective", "method", "ratio", "stage"}
_KNOWN: dict[str, set[str]] = {
    "dataset": {"dataset"},
    "network": _CELL | {"seed"},
    "pair": _CELL | {"seed"},
    "family": {"dataset", "model", "objective", "seed"},
    "seeds": _CELL,
    "tables": set(),
}
"""What is known of every row of a scope, and stands in front of it."""
COMPARED = ("method", "ratio", "stage")


def require_analysis(module: ModuleType) -> None:
    """Raise ConfigError, in one line, for what an analysis should not declare."""
    wrong = _wrong(module)
    if wrong:
        raise ConfigError(f"{module.__file__}: {wrong}")


def _wrong(module: ModuleType) -> str | None:
    params = module.Params
    if not (isinstance(params, type) and issubclass(params, Analysis)):
        return "Params does not come from sparrow.settings.Analysis"
    scope, tables = str(getattr(params, "scope", "nothing")), getattr(params, "tables", None)
    if scope not in get_args(Scope):
        return f"Params.scope is {scope!r}; valid: {', '.join(get_args(Scope))}"
    if not isinstance(tables, dict) or not tables or not all(tables.values()):
        return f"Params.tables is {tables!r}; valid: a dictionary of at least one table, each with its columns"
    unknown = sorted(set(params.needs) - set(get_args(Need)))
    if unknown:
        return f"Params.needs has {unknown[0]!r}; valid: {', '.join(get_args(Need))}"
    if params.needs and scope in ("dataset", "tables"):
        return f"Params.needs has {params.needs[0]!r}, but an analysis of scope {scope} is given no network"
    for name, columns in tables.items():
        twice = sorted({column for column in columns if columns.count(column) > 1})
        known = sorted(set(columns) & {*_KNOWN[scope], "table", "rows", *ORIGIN})
        if twice or known:
            why = "is there twice" if twice else f"the study puts in front of every row of scope {scope}, or behind it"
            return f"Params.tables: {name} has the column {(twice or known)[0]!r}, which {why}"
    if params.timed and (scope != "family" or not set(COMPARED) <= set(next(iter(tables.values())))):
        return (
            f"Params.timed: timings can be compared in a family alone; valid: scope family, with columns {', '.join(COMPARED)}"
        )
    if hasattr(module, "summary") and (params.timed or scope not in ("network", "pair")):
        return f"summary: valid for analyses of a network or a pair that are not timed, scope is {scope}"
    return None
