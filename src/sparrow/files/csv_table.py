"""CSV files, the same bytes for the same numbers. Without pandas, which takes long to import."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sparrow.files.atomic import replacing


def _exact(number: str) -> float:
    return float(number or "nan")


EXACT = {"eps": _exact}
"""Converters for pandas.read_csv, which may read a number off by its last digit: that is another radius."""


def text_of(number: float) -> str:
    """A number as tables have it: with six significant digits."""
    return f"{number:.6g}"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a line of `columns`, and `rows`; floats with six significant digits."""
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([text_of(value) if isinstance(value, float) else value for value in row] for row in rows)
