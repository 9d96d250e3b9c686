"""What pre-training, pruning and fine-tuning set up alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from sparrow import catalogue
from sparrow.data._store import Header, Part, read
from sparrow.settings import Threat


def objective(spec: dict) -> Callable:
    """The loss that `spec["objective"]` stands for, against `spec["threat"]` where it is a robust one."""
    entry, params = catalogue.from_spec("objectives", spec["objective"])
    return entry.prepare(params, Threat(**spec["threat"]) if "threat" in spec else None)


def training_data(path: Path, device: torch.device) -> tuple[dict[str, Part], Header]:
    """The training and validation parts, on `device`. Never the test part."""
    parts = {}
    for name in ("train", "validation"):
        part, header = read(path, name)
        parts[name] = part.to(device)
    return parts, header


def write_curve(path: Path, curve: pd.DataFrame) -> None:
    """One row an epoch; only a header for a stage that did not train."""
    curve.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
