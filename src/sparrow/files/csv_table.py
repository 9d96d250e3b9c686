"""CSV files that are the same to the byte for the same numbers, written without the import of pandas in every job."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sparrow.files.atomic import replacing


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A header and `rows`; floats with six significant digits."""
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
