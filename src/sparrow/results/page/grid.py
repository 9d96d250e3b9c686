"""A table that sorts, filters and hides columns: plain values, which `page.js` hands to DataTables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import pandas as pd

from sparrow.results.page.packed import pack_json

Form = Literal["text", "number", "percent", "interval", "mark", "long"]


class Column(NamedTuple):
    """A column of a grid."""

    title: str
    form: Form
    values: list[Any]
    """Texts, numbers, or of an `interval` the three numbers and perhaps a note; None where there is nothing."""
    shown: bool = True
    chosen_by: bool = False
    """Whether rows can be chosen by its values, from a menu."""
    says: str = ""
    """What it means, for its header."""


class Grid(NamedTuple):
    """A table for the page."""

    name: str
    packed: str
    rows: int


def grid(name: str, columns: Iterable[Column], order: tuple[int, str] | None = None) -> Grid:
    """The grid of `columns`. A menu of one value, and an empty column, are left out."""
    kept = [one for one in columns if any(value not in (None, "") for value in one.values)]
    heads = [
        {
            "title": one.title,
            "form": one.form,
            "shown": one.shown,
            "menu": one.chosen_by and len(set(one.values)) > 1,
            "says": one.says,
        }
        for one in kept
    ]
    rows = [list(row) for row in zip(*(one.values for one in kept), strict=True)]
    return Grid(name, pack_json({"columns": heads, "rows": rows, "order": order or []}), len(rows))


def texts(values: pd.Series) -> list[str]:
    """A column's texts, empty where there is nothing."""
    return ["" if pd.isna(value) else str(value) for value in values]


def numbers(values: pd.Series) -> list[float | None]:
    """A column's numbers, with six significant digits."""
    return [_number(value) for value in values]


def intervals(
    table: pd.DataFrame, name: str, low: str | None = None, high: str | None = None, notes: list[str] | None = None
) -> list[list | None]:
    """Of each row the value `name` and the ends of its interval, None without a value or of an interval without a width; and
    behind them its note, if it has one."""
    ends = low or f"{name}_low", high or f"{name}_high"
    values = zip(*(table[column] if column in table else [math.nan] * len(table) for column in (name, *ends)), strict=True)
    found = [[_number(value) for value in row] for row in values]
    known = [None if row[0] is None else row if row[1] != row[2] else [row[0], None, None] for row in found]
    return [[*row, note] if row and note else row for row, note in zip(known, notes or [""] * len(known), strict=True)]


def _number(value: Any) -> float | None:
    if pd.isna(value):
        return None
    number = float(f"{float(value):.6g}")
    return int(value) if float(value).is_integer() and abs(float(value)) < 1e15 else number
