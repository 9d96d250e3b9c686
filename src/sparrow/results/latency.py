"""How fast networks are, and what they preserve, in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.atomic_file import replacing
from sparrow.errors import SparrowError
from sparrow.outcome_table import FAILED, LATENCY

IDENTITY = LATENCY[:7]
PRESERVED = [f"preserved_era{end}" for end in ("", "_low", "_high")]


def write_latencies(summary: Path, tables: list[Path], output: Path) -> None:
    """All rows of `tables`, each with its checkpoint's preserved era and granularity from `summary`; sorted as that is.

    A network that failed has one row, without numbers. Raises SparrowError for a file that is no table of latencies.
    """
    found = [table for table in (_read(path) for path in tables) if table is not None]
    rows = pd.concat(found or [pd.DataFrame(columns=LATENCY)])
    known = pd.read_csv(summary, dtype={"ratio": str})[[*IDENTITY, "granularity", "constant", *PRESERVED]]
    merged = known.merge(rows, on=IDENTITY, how="left", validate="one_to_many")
    merged[["batch_size", "threads"]] = merged[["batch_size", "threads"]].astype("Int64")
    with replacing(output) as partial:
        merged.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _read(path: Path) -> pd.DataFrame | None:
    try:
        # Ratios as they are written: every digit counts.
        table = pd.read_csv(path, dtype={"ratio": str})
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable table of latencies ({error})") from None
    if list(table.columns) == FAILED:
        return None
    if list(table.columns) != LATENCY:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {LATENCY}")
    return table
