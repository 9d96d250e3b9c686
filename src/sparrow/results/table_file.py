"""A table of the study as a file: the same bytes for the same rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files.atomic import replacing


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, floats with six significant digits."""
    if "ratio" in table:
        # By its ratio a cell is found again: every digit counts.
        table = table.assign(ratio=table["ratio"].map(lambda ratio: repr(float(ratio))))
    with replacing(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
