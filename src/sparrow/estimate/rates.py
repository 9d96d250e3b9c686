"""Seconds of a unit of work: measured, or from its multiply-adds and an assumed speed. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sparrow.errors import SparrowError
from sparrow.estimate.unit import CHANNELS_LAST, Unit, What
from sparrow.files.csv_table import write_csv

SHIPPED = Path(__file__).parents[3] / "benchmarks/results/steps.csv"
"""Measured rows that come with a checkout; an installed package has none."""

Kind = Literal["gpu", "cpu"]


class Speed(NamedTuple):
    """An assumed speed in 10^12 floating point operations per second (two for a multiply-add), and what it is based on."""

    teraflops: float
    reason: str


ASSUMED: dict[tuple[Kind, str], Speed] = {
    ("gpu", "float32"): Speed(10.0, "an NVIDIA A100 at half of its float32 peak of 19.5"),
    ("gpu", "bfloat16"): Speed(30.0, "an NVIDIA A100 at a tenth of its bfloat16 peak of 312"),
    ("cpu", "float32"): Speed(0.1, "a core of an AMD EPYC"),
    ("cpu", "bfloat16"): Speed(0.2, "a core of an AMD EPYC with avx512_bf16"),
}
"""Speeds sustained in training small networks, as round numbers; none is measured."""


class Row(NamedTuple):
    """One line of a table of step times."""

    kind: Kind
    device: str
    threads: int
    torch: str
    sparrow: str
    what: What
    model: str
    entry: str
    progress: float
    shape: str
    classes: int
    batch_size: int
    precision: str
    filters_gone: float
    seconds: float | None
    """For a step, or for one image; None if only the multiply-adds were counted."""
    multiply_adds: int
    repeats: int

    @property
    def unit(self) -> Unit:
        """The unit that the row is about. Raises ValueError if `shape` is not three numbers."""
        channels, height, width = map(int, self.shape.split("x"))
        shape = (channels, height, width)
        about = self.what, self.model, self.entry, self.progress, shape, self.classes, self.batch_size, self.precision
        return Unit(*about, self.filters_gone)


def row_of(unit: Unit, made: dict[str, Any], seconds: float | None, multiply_adds: int, repeats: int) -> Row:
    """The Row of `unit`; `made` has kind, device, threads and versions (`measure.this_device`)."""
    about = {key: made[key] for key in Row._fields[:5]}
    own = unit._asdict() | {"shape": "x".join(map(str, unit.shape))}
    return Row(**about, **own, seconds=seconds, multiply_adds=multiply_adds, repeats=repeats)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table of step times. Raises SparrowError, naming file and line, if it is no such table."""
    if not path.is_file():
        raise SparrowError(f"{path}: no such file; valid: a table that `sparrow cost --measure` wrote")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        # Tables from before cut networks have no column for them.
        if tuple(reader.fieldnames or ()) not in (Row._fields, tuple(name for name in Row._fields if name != "filters_gone")):
            raise SparrowError(f"{path}: not a table of step times; its columns must be {', '.join(Row._fields)}")
        return [_row(path, reader.line_num, {"filters_gone": "0"} | line) for line in reader]


_NUMBERS = {
    "threads": int,
    "progress": float,
    "classes": int,
    "batch_size": int,
    "filters_gone": float,
    "multiply_adds": int,
    "repeats": int,
}


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    values: dict[str, Any] = dict(line)
    try:
        for name, kind in _NUMBERS.items():
            values[name] = kind(line[name])
        values["seconds"] = float(line["seconds"]) if line["seconds"] else None
        row = Row(**values)
        row.unit  # noqa: B018 - raises ValueError for a shape that is not three numbers
    except (TypeError, ValueError) as error:
        raise SparrowError(f"{path}: line {number}: not a step time: {error}") from None
    return row


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a table of step times."""
    write_csv(path, Row._fields, rows)


class Rates:
    """Seconds of units on one kind of device."""

    def __init__(self, rows: Sequence[Row], kind: Kind, teraflops: float | None = None) -> None:
        """Of several rows for a unit, the last is used; `teraflops` replaces the assumed speeds."""
        self._kind, self._teraflops = kind, teraflops
        self._seconds = {row.unit: row.seconds for row in rows if row.kind == kind and row.seconds is not None}
        self._multiply_adds = {row.unit: row.multiply_adds for row in rows}
        # The operations of a step do not depend on its precision, and grow as the batch.
        self._by_image = {_any_batch(row.unit): row.multiply_adds / row.batch_size for row in rows}

    def seconds(self, unit: Unit) -> tuple[float, str] | None:
        """Seconds, and `measured` or `derived`; None if the unit's multiply-adds are unknown.

        Of a network that lost filters, if nobody has counted those of what is left, `whole`: the seconds with all filters.
        """
        found = self._of(unit)
        if found is None and unit.filters_gone and (whole := self._of(unit._replace(filters_gone=0.0))):
            return whole[0], "whole"
        return found

    def _of(self, unit: Unit) -> tuple[float, str] | None:
        """Seconds, and `measured` or `derived`, of a network of this very size."""
        if unit in self._seconds:
            return self._seconds[unit], "measured"
        counted: float | None = self._multiply_adds.get(unit)
        if counted is None:
            by_image = self._by_image.get(_any_batch(unit))
            counted = None if by_image is None else by_image * unit.batch_size
        if counted is None:
            return None
        return 2 * counted / (self.speed(unit.precision).teraflops * 1e12), "derived"

    def speed(self, precision: str) -> Speed:
        """The speed from which `derived` seconds are computed."""
        if self._teraflops is not None:
            return Speed(self._teraflops, "as given")
        return ASSUMED[self._kind, precision.removesuffix(CHANNELS_LAST)]


def _any_batch(unit: Unit) -> Unit:
    return unit._replace(batch_size=1, precision="")
