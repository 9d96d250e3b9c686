"""What pre-training, pruning and fine-tuning set up alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from sparrow import catalogue
from sparrow.data.augmentation import Augmentation
from sparrow.data.store import Header, Part, read
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import sha256
from sparrow.reproducible import derive_seed, pick_device, software_and_device
from sparrow.settings import Threat
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages._origin import header
from sparrow.training.loop import CURVE_COLUMNS


def objective(spec: dict) -> Callable:
    """The loss that `spec["objective"]` stands for, against `spec["threat"]` where it is a robust one."""
    entry, params = catalogue.from_spec("objectives", spec["objective"])
    return entry.prepare(params, Threat(**spec["threat"]) if "threat" in spec else None)


def initialise(spec: dict, model: nn.Module) -> None:
    """Give `model` (on the CPU) the initial weights that `spec["objective"]` asks for, if it does."""
    entry, params = catalogue.from_spec("objectives", spec["objective"])
    if hasattr(entry, "initialise"):
        entry.initialise(params, model, torch.Generator().manual_seed(derive_seed(spec["cell"]["seed"], "initialise")))


def training_data(path: Path, device: torch.device, spec: dict) -> tuple[dict[str, Part], Header]:
    """The training part, with `spec["augmentation"]`, and the validation part, on `device`. Never the test part."""
    parts = {}
    for name in ("train", "validation"):
        part, about = read(path, name)
        parts[name] = part.to(device)
    parts["train"] = replace(parts["train"], augmentation=Augmentation(**spec.get("augmentation", {})))
    return parts, about


def failed_training(
    message: str, stage: str, data: Path, output: Path, curve: Path, spec: dict, parent: Path | None = None, **unused
) -> None:
    """What a training stage leaves where there is no network: a checkpoint that says why, and an empty curve."""
    about = read(data, "validation")[1]
    drawn = write_curve(curve, [])
    failed_checkpoint(message, output, **header(stage, spec, about, parent), **drawn, **software_and_device(pick_device()))


def write_curve(path: Path, rows: list[tuple]) -> dict[str, str]:
    """One row an epoch; only a header for a stage that did not train. Returns what the checkpoint's header says of it."""
    write_csv(path, CURVE_COLUMNS, rows)
    return {"curve": sha256(path)}
