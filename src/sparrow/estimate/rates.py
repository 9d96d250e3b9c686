"""Seconds of a unit of work: measured, or from its multiply-adds and an assumed speed. Imports no torch."""

from __future__ import annotations

import csv
import math
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
    code: str = ""
    """Digests of the entries' own code, of the unit's model and of its objective or verifier; nothing in rows that come with
    Sparrow, and in tables from before there were any."""

    @property
    def unit(self) -> Unit:
        """The unit that the row is about. Raises ValueError if `shape` is not three numbers."""
        channels, height, width = map(int, self.shape.split("x"))
        shape = (channels, height, width)
        about = self.what, self.model, self.entry, self.progress, shape, self.classes, self.batch_size, self.precision
        return Unit(*about, self.filters_gone)


def row_of(unit: Unit, made: dict[str, Any], seconds: float | None, multiply_adds: int, repeats: int, code: str = "") -> Row:
    """The Row of `unit`; `made` has kind, device, threads and versions (`measure.this_device`)."""
    about = {key: made[key] for key in Row._fields[:5]}
    own = unit._asdict() | {"shape": "x".join(map(str, unit.shape))}
    return Row(**about, **own, seconds=seconds, multiply_adds=multiply_adds, repeats=repeats, code=code)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table of step times. Raises SparrowError, naming file and line, if it is no such table."""
    if not path.is_file():
        raise SparrowError(f"{path}: no such file; valid: a table that `sparrow cost --measure` wrote")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        # Tables from before networks were cut, and from before their code was known, have no columns for it.
        missing = [name for name in Row._fields if name not in (reader.fieldnames or ())]
        columns = [name for name in Row._fields if name not in missing]
        if list(reader.fieldnames or ()) != columns or missing not in ([], ["code"], ["filters_gone", "code"]):
            raise SparrowError(f"{path}: not a table of step times; its columns must be {', '.join(Row._fields)}")
        return [_row(path, reader.line_num, {"filters_gone": "0", "code": ""} | line) for line in reader]


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
        if row.batch_size < 1:
            raise ValueError(f"batch_size is {row.batch_size}, must be at least 1")
    except (TypeError, ValueError) as error:
        raise SparrowError(f"{path}: line {number}: not a step time: {error}") from None
    return row


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a table of step times."""
    write_csv(path, Row._fields, rows)


class Rate(NamedTuple):
    """The seconds of a unit, and what they come from."""

    seconds: float
    by: str
    """`measured`; `nearest`, a bound that was measured on another number of images at a time; `derived` from multiply-adds; or
    `whole`, any of these of a network with all of its filters, where some are gone."""
    row: Row


class Rates:
    """Seconds of units on one kind of device."""

    def __init__(self, rows: Sequence[Row], kind: Kind, teraflops: float | None = None) -> None:
        """Of several rows for a unit, the last is used; `teraflops` replaces the assumed speeds."""
        self._kind, self._teraflops = kind, teraflops
        self._measured = {row.unit: row for row in rows if row.kind == kind and row.seconds is not None}
        self._counted = {row.unit: row for row in rows}
        # The operations of a step do not depend on its precision, and grow as the batch.
        self._by_image = {any_batch(row.unit): row for row in rows}
        self._bounds: dict[Unit, list[Row]] = {}
        for unit, row in self._measured.items():
            if unit.what == "bound":
                self._bounds.setdefault(any_batch(unit), []).append(row)

    def rate(self, unit: Unit) -> Rate | None:
        """The seconds of a unit; None if not even its multiply-adds are known."""
        found = self._of(unit)
        if found is None and unit.filters_gone and (whole := self._of(unit._replace(filters_gone=0.0))):
            return whole._replace(by="whole")
        return found

    def _of(self, unit: Unit) -> Rate | None:
        """The seconds of a unit of a network of this very size."""
        if unit in self._measured:
            return _as_measured(self._measured[unit], "measured")
        near = self._bounds.get(any_batch(unit))
        if near:
            # Of two as near, the one of more images.
            best = min(near, key=lambda row: (abs(math.log(row.batch_size / unit.batch_size)), -row.batch_size))
            return _as_measured(best, "nearest")
        row = self._counted.get(unit) or self._by_image.get(any_batch(unit))
        if row is None:
            return None
        counted = row.multiply_adds * (unit.batch_size / row.batch_size if unit.what == "step" else 1)
        return Rate(2 * counted / (self.speed(unit.precision).teraflops * 1e12), "derived", row)

    def speed(self, precision: str) -> Speed:
        """The speed from which `derived` seconds are computed."""
        if self._teraflops is not None:
            return Speed(self._teraflops, "as given")
        return ASSUMED[self._kind, precision.removesuffix(CHANNELS_LAST)]


def _as_measured(row: Row, by: str) -> Rate:
    assert row.seconds is not None, "rows without seconds are not among those measured"
    return Rate(row.seconds, by, row)


def any_batch(unit: Unit) -> Unit:
    """The unit whatever its batch and its precision, for comparison."""
    return unit._replace(batch_size=1, precision="")
