"""How fast networks are, and what they preserve, in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.errors import SparrowError
from sparrow.files.atomic import replacing
from sparrow.files.outcome_table import FAILED, LATENCY, ORIGIN, TEXT, require_origin, require_whole

IDENTITY = LATENCY[:7]
SHOWN = [name for name in LATENCY if name not in ("rows", *ORIGIN)]
PRESERVED = [f"preserved_era{end}" for end in ("", "_low", "_high")]


def write_latencies(summary: Path, tables: list[Path], output: Path, specs: dict[str, str]) -> None:
    """All rows of `tables`, each with its checkpoint's preserved era and granularity from `summary`; sorted as that is.

    A network that failed has one row, without numbers. Raises SparrowError for a file that is no table of latencies, that was
    cut, or that is about other networks than the summary, or made under another configuration than `specs` has, by model.
    """
    every = pd.read_csv(summary, dtype={"ratio": str} | TEXT)
    found = [table for table in (_read(path, every, specs) for path in tables) if table is not None]
    rows = pd.concat(found or [pd.DataFrame(columns=SHOWN)])
    known = every[[*IDENTITY, "granularity", "constant", *PRESERVED]]
    merged = known.merge(rows, on=IDENTITY, how="left", validate="one_to_many")
    merged[["batch_size", "threads"]] = merged[["batch_size", "threads"]].astype("Int64")
    with replacing(output) as partial:
        merged.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _read(path: Path, summary: pd.DataFrame, specs: dict[str, str]) -> pd.DataFrame | None:
    try:
        # Ratios as they are written: every digit counts.
        table = pd.read_csv(path, dtype={"ratio": str} | TEXT)
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable table of latencies ({error})") from None
    if list(table.columns) == FAILED:
        return None
    if list(table.columns) != LATENCY:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {LATENCY}")
    try:
        require_whole(path, table["rows"].tolist())
        of = table.merge(summary[[*IDENTITY, "network", "data"]], on=IDENTITY, how="left", suffixes=("", "_expected"))
        of = of.astype(object).where(of.notna(), None)  # A dense network need not be in the summary.
        for model, network, data, *row in of[["model", "network_expected", "data_expected", *ORIGIN]].itertuples(index=False):
            require_origin(path, [tuple(row)], dict(zip(ORIGIN, (network, data, specs.get(model, "none")), strict=True)))
    except SparrowError as error:
        raise SparrowError(f"{error}; delete it and run again") from None
    return table[SHOWN]
