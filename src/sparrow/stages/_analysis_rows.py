"""The rows that an entry's `analyse` gives: what a table can hold, or one line that names the entry's file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sparrow.errors import SparrowError
from sparrow.settings import Columns

VALUES = (str, int, float, type(None))
"""Types of which a table holds values; a bool is an int."""


def rows_by_table(found: object, tables: Columns, file: str | None) -> dict[str, list[list[Any]]]:
    """The rows of each of `tables` in `found`, which has a value for each column in each row; numbers of numpy as Python's.

    `found` is what `analyse` of the entry in `file` gave: rows of the first table, or a dictionary of rows by table. Raises
    SparrowError, naming `file`, if it is neither, or has a value that no table can hold, such as a tensor.
    """
    try:
        return _rows_by_table(found, tables)
    except ValueError as error:
        raise SparrowError(f"{file}: analyse gives {error}") from None


def _rows_by_table(found: object, tables: Columns) -> dict[str, list[list[Any]]]:
    by_table = found if isinstance(found, dict) else {next(iter(tables)): found}
    for name in by_table:
        if name not in tables:
            raise ValueError(f"rows of a table {name!r}; valid: {', '.join(tables)}")
    return {table: _rows(by_table[table], table, columns) for table, columns in tables.items() if table in by_table}


def _rows(found: object, table: str, columns: tuple[str, ...]) -> list[list[Any]]:
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ValueError(f"{_said(found)} as the rows of table {table}; valid: a list of them")
    return [_row(row, table, columns) for row in found]


def _row(row: object, table: str, columns: tuple[str, ...]) -> list[Any]:
    if not (isinstance(row, (list, tuple)) or (isinstance(row, np.ndarray) and row.ndim == 1)):
        raise ValueError(f"{_said(row)} as a row of table {table}; valid: a list or tuple")
    if len(row) != len(columns):
        raise ValueError(f"a row of table {table} with {len(row)} values; valid: {len(columns)}, {', '.join(columns)}")
    values = [value.item() if isinstance(value, np.generic) else value for value in row]
    for value, column in zip(values, columns, strict=True):
        if not isinstance(value, VALUES):
            raise ValueError(f"{_said(value)} in the column {column} of table {table}; valid: a number, a text or None")
    return values


def _said(value: object) -> str:
    """What a value is, in a few words of one line; without the address that many objects have in theirs."""
    simple = isinstance(value, (*VALUES, list, tuple, dict))
    words = " ".join(repr(value).split()) if simple else ""
    return words if words and len(words) <= 60 else f"a value of type {type(value).__name__}"
