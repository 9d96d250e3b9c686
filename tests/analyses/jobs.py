"""Jobs of analyses, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparrow import catalogue
from sparrow.files import analysis_table
from sparrow.settings import Columns
from sparrow.stages.analyse import analyse


def on_network(network: Path, data: Path, output: Path, cost: Path, spec: dict[str, Any]) -> str | None:
    """An analysis of one network."""
    return analyse(output=output, cost=cost, spec=spec, data=data, networks=[network], dense=[])


def columns(kind: str) -> list[str]:
    """The columns of a job's table."""
    return analysis_table.header(tables(kind))


def tables(kind: str) -> Columns:
    """The tables of an analysis, with their columns."""
    return catalogue.load("analyses", kind).Params.tables


def configured_of(kind: str) -> dict[str, Any]:
    """What the study says to aggregation of an analysis under its own name."""
    params = catalogue.load("analyses", kind).Params
    return {"kind": kind, "scope": params.scope, "tables": params.tables}
