"""Published figures to compare a study with: reports/published.csv and reports/published-headlines.csv.

Each row of published.csv has a source's figures (in percent) in the source's words, and further columns with their
equivalents here: the kinds of entries they can be compared with, the threat, the data and the images. Imports neither torch
nor pandas.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from sparrow.errors import SparrowError

FOLDER = Path(__file__).parents[3] / "reports"
FIGURES, HEADLINES = FOLDER / "published.csv", FOLDER / "published-headlines.csv"

KEYS = ["dataset_kind", "model_kind", "objective_kind", "method_kind", "granularity", "ratio"]
"""Columns on which a published network and a measured one are matched; the file's `objective_kinds` are separated by spaces."""
FIGURE_COLUMNS = ["source", "dataset", "model", "objective", "structure", "method", "ratio", "benign", "attack", "era"]
FIGURE_COLUMNS += ["verifier", "vra", "note", "dataset_kind", "model_kind", "objective_kinds", "method_kind", "granularity"]
FIGURE_COLUMNS += ["attack_kind", "verifier_kind", "norm", "eps", "images", "data_regime", "epochs", "remark"]
HEADLINE_COLUMNS = ["source", "quantity", "ratio", "value", "quote", "dataset_kind", "method_kind"]
PERCENT = (0.0, 100.0)
NUMBERS = {"benign": PERCENT, "era": PERCENT, "vra": PERCENT, "value": PERCENT, "ratio": (0.0, 1.0)}
NUMBERS |= {"eps": (0.0, math.inf), "images": (1.0, math.inf)}


def figures(path: Path = FIGURES) -> list[dict[str, Any]]:
    """The rows of published.csv; numbers as floats, NaN for empty cells. Raises SparrowError."""
    return _read(path, FIGURE_COLUMNS)


def headlines(path: Path = HEADLINES) -> list[dict[str, Any]]:
    """The rows of published-headlines.csv: averages that a source states, in percent of the dense. Raises SparrowError."""
    return _read(path, HEADLINE_COLUMNS)


def comparable_networks(row: dict[str, Any]) -> list[tuple]:
    """Values of `KEYS` of the networks that a row can be compared with; empty if Sparrow has no such method."""
    if not row["method_kind"]:
        return []
    return [tuple((row | {"objective_kind": kind})[key] for key in KEYS) for kind in row["objective_kinds"].split()]


def sources_matching(text: str, rows: list[dict[str, Any]]) -> list[str]:
    """Names of the sources that contain `text`, in any case. Raises ValueError if there are none."""
    names = list(dict.fromkeys(row["source"] for row in rows))
    found = [name for name in names if text.lower() in name.lower()]
    if not found:
        raise ValueError(f"unknown source {text!r}; valid, or any part of them: {'; '.join(names)}")
    return found


def _read(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey="", restval=None)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise SparrowError(f"{path}: has no column {', '.join(missing)}")
            return [_row(row, columns, f"{path}: line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SparrowError(f"{path}: cannot be read: {error}") from None


def _row(row: dict[str, Any], columns: list[str], where: str) -> dict[str, Any]:
    if "" in row or None in row.values():
        raise SparrowError(f"{where}: has another number of fields than the header")
    if not row["source"]:
        raise SparrowError(f"{where}: has no source")
    return {column: _number(row[column], column, where) if column in NUMBERS else row[column] for column in columns}


def _number(text: str, column: str, where: str) -> float:
    if not text:
        return math.nan
    low, high = NUMBERS[column]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SparrowError(f"{where}: {column} is {text!r}, must be a number from {low:g} to {high:g}, or empty")
    return value
