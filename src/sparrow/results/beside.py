"""A reader of the tables beside a checkpoint, whose header has their digests: learning curves, and traces of pruning."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.errors import SparrowError
from sparrow.files.headers import read_header, sha256
from sparrow.files.paths import NETWORK


def read_beside(path: Path) -> pd.DataFrame:
    """The table in a file `CHECKPOINT.curve.csv` or `CHECKPOINT.trace.csv`.

    Raises SparrowError, naming the file, if it is no table, or not the one that was written with the checkpoint. If the
    checkpoint is missing, that is not checked.
    """
    name, *kinds = path.name.split(".")
    checkpoint, kind = path.with_name(f"{name}{NETWORK}"), kinds[0]
    named = read_header(checkpoint).get(kind) if checkpoint.is_file() else None
    if named is not None and (not path.is_file() or sha256(path) != named):
        raise SparrowError(
            f"{path}: not the {kind} that was written with {checkpoint.name}; it was cut or changed: delete both and run again"
        )
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable {kind} ({error})") from None
