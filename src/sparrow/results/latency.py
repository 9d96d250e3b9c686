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

    Tables of dense networks that failed have no rows. Raises SparrowError for a file that is no table of latencies.
    """
    # Ratios as they are written: every digit counts.
    found = [table for table in (_read(path) for path in tables) if table is not None]
    rows = pd.concat([pd.DataFrame(columns=LATENCY), *found]) if not found else pd.concat(found)
    known = pd.read_csv(summary, dtype={"ratio": str})[[*IDENTITY, "granularity", *PRESERVED]]
    # What is timed of a study is what it evaluates, so that nothing is lost here.
    merged = known.merge(rows, on=IDENTITY, how="inner", validate="one_to_many")
    with replacing(output) as partial:
        merged.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _read(path: Path) -> pd.DataFrame | None:
    try:
        table = pd.read_csv(path, dtype={"ratio": str})
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable table of latencies ({error})") from None
    if list(table.columns) == FAILED:
        return None
    if list(table.columns) != LATENCY:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {LATENCY}")
    return table
