"""The file of one job of an analysis: the rows of all of its tables, each with its origin. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparrow.errors import SparrowError
from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import FAILED, ORIGIN, require_whole
from sparrow.settings import Columns

TABLE, ROWS = "table", "rows"


def collected_name(label: str, number: int, table: str) -> str:
    """The file, in the results folder, of the `number`th table (from 0) of an analysis over all its jobs."""
    return f"{label}.{table}.csv" if number else f"{label}.csv"


def header(tables: Columns) -> list[str]:
    """The columns of such a file: the table that a row belongs to, all tables' own, the number of rows, and `ORIGIN`.

    By the number of rows a file that was cut is known.
    """
    own = dict.fromkeys(name for columns in tables.values() for name in columns)
    return [TABLE, *own, ROWS, *ORIGIN]


def write(path: Path, tables: Columns, rows: Mapping[str, Iterable[Sequence[Any]]], origin: tuple[str, str, str]) -> None:
    """Write the `rows` of each of `tables`: numbers, texts and None, one for each column."""
    names = header(tables)[1 : -1 - len(ORIGIN)]
    lines: list[list[Any]] = []
    for table, columns in tables.items():
        for row in rows.get(table, ()):
            values = dict(zip(columns, row, strict=True))
            lines.append([table, *(values.get(name) for name in names)])
    write_csv(path, header(tables), [(*line, len(lines), *origin) for line in lines])


def read(path: Path, tables: Columns) -> dict[str, list[list[str]]] | str:
    """The rows of each table as they are written, in the order of its columns; or why there are none.

    Raises SparrowError, naming the file, if it is no such table, or was cut.
    """
    names, rows = lines(path)
    if names == FAILED and len(rows) == 1:
        return rows[0][0]
    if names != header(tables):
        raise SparrowError(f"{path}: has the columns {names}, expected {header(tables)}")
    try:
        require_whole(path, [int(row[names.index(ROWS)]) for row in rows])
    except ValueError as error:
        raise SparrowError(f"{path}: not a readable table of an analysis ({error}); delete it and run again") from None
    except SparrowError as error:
        raise SparrowError(f"{error}; delete it and run again") from None
    places = {table: [names.index(column) for column in columns] for table, columns in tables.items()}
    unknown = {row[0] for row in rows} - set(tables)
    if unknown:
        raise SparrowError(f"{path}: has rows of a table {min(unknown)!r}; valid: {', '.join(tables)}; delete it and run again")
    return {table: [[row[place] for place in places[table]] for row in rows if row[0] == table] for table in tables}


def lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a CSV file. Raises SparrowError, naming it, if it is none."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            names, *rows = list(csv.reader(file, strict=True))
        if any(len(row) != len(names) for row in rows):
            raise ValueError("its rows are not all as long as its header")
    except (OSError, ValueError, csv.Error) as error:
        raise SparrowError(f"{path}: not a readable table ({error}); delete it and run again") from None
    return names, rows
