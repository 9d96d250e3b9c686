"""What pre-training, pruning and fine-tuning set up alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparrow import catalogue
from sparrow.data.augmentation import NONE, Augmentation
from sparrow.data.store import Header, Part, read
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import sha256
from sparrow.files.specs import Entry
from sparrow.reproducible import derive_seed, pick_device, software_and_device
from sparrow.settings import Threat
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages._origin import header
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.training.additions import StabilityLoss
from sparrow.training.checked_result import checked
from sparrow.training.loop import CURVE_COLUMNS
from sparrow.training.loss import Loss


def loss_function(
    objective: Entry, threat: Threat | None, nrs: StabilityLoss | None = None, whole: nn.Module | None = None
) -> Loss:
    """The loss of an entry of `objectives`, against `threat` where it is a robust one; a result that is none is refused.

    With `nrs`, ReLUs that the adversary may switch are penalised on top; `whole` is a network of the architecture, if
    filters were cut out of the one that is trained.
    """
    entry, params = catalogue.from_spec("objectives", objective)
    loss = checked(entry.prepare(params, threat), f"objectives.{objective['kind']}")
    return nrs.load().penalised(loss, penalty(nrs, threat, whole)) if nrs else loss


def penalty(nrs: StabilityLoss | None, threat: Threat | None, whole: nn.Module | None = None) -> Any:
    """The penalty for ReLUs that an adversary may switch, `relu_stability.Penalty`; None without `nrs`."""
    return nrs.load().Penalty(nrs, threat, whole) if nrs else None


def perturbs(objective: Entry) -> bool:
    """Whether an entry of `objectives` has a loss of images that it perturbs itself."""
    return catalogue.from_spec("objectives", objective)[1].perturbs


def initialise(model: nn.Module, objective: Entry, seed: int) -> None:
    """Give `model` (on the CPU) the initial weights that an entry of `objectives` asks for, if it asks for any."""
    entry, params = catalogue.from_spec("objectives", objective)
    if hasattr(entry, "initialise"):
        entry.initialise(params, model, torch.Generator().manual_seed(derive_seed(seed, "initialise")))


def training_data(path: Path, device: torch.device, augmentation: Augmentation | None) -> tuple[dict[str, Part], Header]:
    """The parts `train`, augmented, and `validation` of the data set at `path`, on `device`; and its header."""
    parts = {}
    for name in ("train", "validation"):
        part, about = read(path, name)
        parts[name] = part.to(device)
    parts["train"] = replace(parts["train"], augmentation=augmentation or NONE)
    return parts, about


def failed_training(
    message: str,
    stage: str,
    data: Path,
    output: Path,
    curve: Path,
    spec: CheckpointSpec,
    parent: Path | None = None,
    **unused: Any,
) -> None:
    """Write what a training stage leaves if it fails: a checkpoint that says why, and an empty curve."""
    about = read(data, "validation")[1]
    about_it = header(stage, spec, about, parent) | write_curve(curve, []) | software_and_device(pick_device())
    failed_checkpoint(message, output, **about_it)


def write_curve(path: Path, rows: list[tuple]) -> dict[str, str]:
    """Write a row for each epoch, none for a stage that did not train. Returns what a checkpoint's header says of the file."""
    write_csv(path, CURVE_COLUMNS, rows)
    return {"curve": sha256(path)}
