"""Sparrow from Python: checkpoints, attacks, bounds and pruning of any torch network, and the tables of a study.

Networks take images (n, c, h, w), float in [0, 1], and give logits (n, classes); what normalises images is a layer of theirs.
`kind` is the name of an entry, as a study has it, and `options` are its settings (docs/entries.md, docs/options.md). The same
seed gives the same numbers; they are those of the workflow's jobs but where an attack or a loss draws random starts, which are
others. Bad input raises SparrowError, in one line. Afterwards the caller's random numbers are what they were, but numbers below
1e-38 stay zero on the CPU, as in every job.

>>> import sparrow, torch
>>> _ = torch.manual_seed(0)
>>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10))
>>> images = torch.rand(5, 1, 8, 8)
>>> labels = network(images).argmax(dim=1)
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.errors import SparrowError
from sparrow.files import checkpoint, paths
from sparrow.files.csv_table import EXACT
from sparrow.networks.batched import predict
from sparrow.networks.finite import require_numbers
from sparrow.networks.modes import eval_mode
from sparrow.reproducible import seed_everything
from sparrow.settings import Norm, Threat
from sparrow.stages import attacked_images, verified_images
from sparrow.stages.pruned_network import How, Training, pruned
from sparrow.training.checked_result import checked
from sparrow.training.loop import CURVE_COLUMNS
from sparrow.training.schedule import Schedule

if TYPE_CHECKING:
    import pandas as pd

OF_A_STUDY = {"eps", "samples", "objectives", "in_era", "keep_examples", "skip_verified", "attacks", "ratios"}
"""Settings that name other parts of a study, or choose among its images and networks."""

kinds = catalogue.kinds


@dataclass(frozen=True)
class Attacked:
    """What an attack has found on n images."""

    robust: Tensor
    """Whether (n,) the network is right, and still right after the attack."""
    images: Tensor
    """The nearest adversarial image (n, c, h, w) that is known of each; the image itself, where there is none."""
    distances: Tensor
    """Distance (n,) of that in the norm: 0 where the network is wrong anyway, infinite where nothing was found."""
    margins: Tensor
    """Margin (n,) of the logits within the perturbation set: below 0 where the network is wrong."""
    found_by: list[str]
    """The part of the attack that found it; empty where nothing was found, and where nothing had to be."""

    @property
    def accuracy(self) -> float:
        """Robust accuracy, in [0, 1]."""
        return float(self.robust.float().mean())


@dataclass(frozen=True)
class Verified:
    """What a verifier has decided on n images; what is neither verified nor falsified is not known."""

    verified: Tensor
    """Whether (n,) the network is right, and no adversarial image exists."""
    falsified: Tensor
    """Whether (n,) the network is wrong on the image or on an adversarial one."""
    margins: Tensor
    """Lower bound (n,) on the margin; the margin itself, where the network is wrong."""
    decided_by: list[str]
    """What verified or falsified each image, or `nothing`."""
    failures: list[str]
    """One line for each part of the verifier that could not be used on this network."""

    @property
    def accuracy(self) -> float:
        """Verified robust accuracy, in [0, 1]."""
        return float(self.verified.float().mean())


@dataclass(frozen=True)
class Pruned:
    """A pruned copy of a network."""

    model: nn.Module
    """With zeros in place of what was pruned."""
    masks: dict[str, Tensor]
    """By parameter, True where a value is kept. Keep the others at zero while you fine-tune."""
    curve: list[dict[str, float]]
    """A row for each epoch that the method trained; none, if it did not."""

    @property
    def ratio(self) -> float:
        """Share of the parameters with masks that is gone, in [0, 1]."""
        size = sum(mask.numel() for mask in self.masks.values())
        return 1 - sum(int(mask.sum()) for mask in self.masks.values()) / size


def load(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode on the CPU, and its header: its cell, its origin, what it was made by.

    A network that lost filters has its physical size. Raises CheckpointError, naming the file, if it is not a checkpoint, not
    whole, or made from files that have changed since; NetworkError, if it holds no network, and why.
    """
    if not Path(path).is_file():
        raise SparrowError(f"{path}: no such file; valid: a checkpoint of a study, such as dense.safetensors")
    found = checkpoint.load(Path(path))
    return found.model, found.header


def attack(
    kind: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float | str,
    *,
    norm: Norm = "linf",
    seed: int = 0,
    **options: Any,
) -> Attacked:
    """Attack the images that `model` gets right, within `eps` (a number, or such as "8/255") of each in `norm`.

    What an attack gives back is projected onto the perturbation set and classified again before it counts.

    >>> found = sparrow.attack("pgd", network, images, labels, eps="8/255", steps=10)
    >>> found.robust.shape, bool(((found.images - images).abs() <= 8 / 255 + 1e-6).all())
    (torch.Size([5]), True)
    """
    entry, params, threat = _evaluation("attacks", kind, eps, norm, options)
    if params.transfers:
        raise SparrowError(f"attacks.{kind}: tries what other attacks of a study have found; from Python, attack by those")
    with _quietly(seed, "attack", kind), eval_mode(model):
        images, labels, classes = _checked(model, images, labels, params.batch_size)
        if classes < params.classes_needed:
            raise SparrowError(f"attacks.{kind}: needs {params.classes_needed} classes, and the network has {classes}")
        predictions = predict(model, images, params.batch_size)
        case = attacked_images.Case(model, images, labels, classes, kind, entry, params, threat, predictions)
        found = attacked_images.search(case, predictions == labels)
        outcome = attacked_images.outcome(case, found.images)
    there = outcome.distances.isfinite()
    nearest = torch.where((there & (outcome.distances > 0)).view(-1, *[1] * (images.dim() - 1)), outcome.nearest, images)
    by = [name if hit else "" for name, hit in zip(found.by, there.tolist(), strict=True)]
    return Attacked(~outcome.fooled, nearest, outcome.distances, outcome.margins, by)


def verify(
    kind: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float | str,
    *,
    norm: Norm = "linf",
    seed: int = 0,
    white: int = 255,
    **options: Any,
) -> Verified:
    """Prove of the images that `model` gets right, as far as the verifier can, that no image within `eps` in `norm` fools it.

    A verifier of a smoothed classifier counts votes under noise on the grid of the images, whose values are multiples of
    `1 / white`; where it abstains, nothing is known.

    >>> found = sparrow.verify("crown", network, images, labels, eps=0.0001)
    >>> found.verified.tolist()
    [True, True, True, True, True]
    """
    entry, params, threat = _evaluation("verifiers", kind, eps, norm, options)
    failures: list[str] = []
    with _quietly(seed, "verify", kind) as generator, eval_mode(model):
        images, labels, classes = _checked(model, images, labels, params.batch_size)
        part = Part(images * white, labels, torch.arange(len(labels)), white) if params.smoothed else _part(images, labels)
        case = verified_images.Case(model, part, classes, params, threat)
        if params.smoothed:
            _, status, margins, decided = verified_images.smoothed(entry, kind, case, generator)
        else:
            _, status, margins, decided = verified_images.bounded(entry, kind, case, (), failures)
    verified, falsified = (torch.tensor([one == what for one in status]) for what in ("verified", "falsified"))
    return Verified(verified, falsified, margins, decided, failures)


def prune(
    kind: str,
    model: nn.Module,
    ratio: float,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    objective: str | Mapping[str, Any] = "benign",
    eps: float | str | None = None,
    norm: Norm = "linf",
    schedule: Mapping[str, Any] | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    **options: Any,
) -> Pruned:
    """Prune a copy of `model` by a method, which removes the share `ratio`; fine-tuning is the caller's.

    `images` say what the network takes. A method that trains, trains on them and their `labels` by `objective` (its kind, or
    `{"kind": ..., **settings}`), which has the threat `eps` in `norm` if it is a robust one, for a `schedule`
    (`{"epochs": ..., **settings}`); its learning curve is that of the `validation` images and labels, or else of these.

    >>> smaller = sparrow.prune("lwm", network, 0.9, images)
    >>> round(smaller.ratio, 2), smaller.masks["1.weight"].shape
    (0.9, torch.Size([20, 64]))
    """
    entry, params = _settings("methods", kind, options)
    if not 0 < ratio < 1:
        raise SparrowError(f"ratio: {ratio!r} is not valid: must be a share above 0 and below 1")
    smaller = copy.deepcopy(model)
    with _quietly(seed, "prune", kind) as generator:
        if labels is None and params.needs != "nothing":
            raise SparrowError(f"methods.{kind}: trains the network or reads its gradients; give labels beside the images")
        known = labels if labels is not None else torch.zeros(len(images), dtype=torch.long)
        with eval_mode(smaller):
            images, known, _ = _checked(smaller, images, known, 512)
        training = None
        if params.needs != "nothing":
            training = _training(kind, params, objective, eps, norm, schedule)
        parts = {"train": _part(images, known)}
        parts["validation"] = parts["train"]
        if validation is not None:
            with eval_mode(smaller):
                held_out, theirs, _ = _checked(smaller, *validation, 512)
            parts["validation"] = _part(held_out, theirs)
        how = How(kind, entry, params, ratio, seed, _threat_of(f"methods.{kind}", params, eps, norm))
        _, *shape = images.shape
        found = pruned(smaller, (shape[0], shape[1], shape[2]), parts, how, training, generator)
    curve = [dict(zip(CURVE_COLUMNS, row, strict=True)) for row in found.rows]
    return Pruned(smaller.eval(), found.masks, curve)


def tables(results: str | Path) -> dict[str, pd.DataFrame]:
    """The tables of a study that has run, by name (`summary`, `ranking`, `costs`, ...), from its results folder.

    Radii are read with all of their digits. Raises SparrowError if there is none.
    """
    import pandas as pd

    found = {path.stem: path for path in sorted(Path(results).glob(paths.study_table("*")))}
    if not found:
        raise SparrowError(f"{results}: holds no tables; valid: the folder that a study names as `results`, once it has run")
    return {name: pd.read_csv(path, converters=EXACT) for name, path in found.items()}


def _part(images: Tensor, labels: Tensor) -> Part:
    return Part(images, labels, torch.arange(len(labels)))


def _settings(room: catalogue.Room, kind: str, options: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The entry and its parameters. Raises SparrowError for a kind, a setting or a value that is not valid."""
    if kind not in catalogue.kinds(room):
        raise SparrowError(f"{room}: {kind!r} is not known; valid: {', '.join(catalogue.kinds(room))}")
    entry = catalogue.load(room, kind)
    valid = [name for name in entry.Params.model_fields if name not in OF_A_STUDY]
    for name in options:
        if name not in valid:
            of_a_study = ", which belongs to a study" if name in entry.Params.model_fields else ""
            raise SparrowError(f"{room}.{kind}: unknown setting {name!r}{of_a_study}; valid: {', '.join(valid) or 'none'}")
    try:
        return entry, entry.Params(**options)
    except ValidationError as error:
        raise SparrowError(_first(error, f"{room}.{kind}")) from None


def _evaluation(
    room: catalogue.EvaluatedRoom, kind: str, eps: float | str, norm: str, options: Mapping[str, Any]
) -> tuple[ModuleType, Any, Threat]:
    entry, params = _settings(room, kind, options)
    if norm not in params.norms:
        raise SparrowError(f"{room}.{kind}: norm {norm!r} is not valid: must be {' or '.join(params.norms)}")
    return entry, params, _threat(eps, norm)


def _threat(eps: float | str, norm: str) -> Threat:
    try:
        return Threat(norm=norm, eps=eps)
    except ValidationError as error:
        raise SparrowError(_first(error, "threat")) from None


def _threat_of(name: str, params: Any, eps: float | str | None, norm: str) -> Threat | None:
    """The threat of an objective or a method whose settings have an `eps`; None of another. Raises SparrowError without one."""
    if "eps" not in type(params).model_fields:
        return None
    if eps is None:
        raise SparrowError(f"{name}: works against a threat; give eps, such as 0.1 or '8/255'")
    return _threat(eps, norm)


def _training(
    kind: str,
    params: Any,
    objective: str | Mapping[str, Any],
    eps: float | str | None,
    norm: str,
    schedule: Mapping[str, Any] | None,
) -> Training:
    """What a method trains by. Raises SparrowError if a part of it is missing or not valid."""
    said = {"kind": objective} if isinstance(objective, str) else dict(objective)
    name = said.pop("kind", None)
    entry, settings = _settings("objectives", str(name), said)
    threat = _threat_of(f"objectives.{name}", settings, eps, norm)
    if params.needs == "schedule" and schedule is None:
        raise SparrowError(f"methods.{kind}: trains; give a schedule, such as {{'epochs': 20, 'lr': 0.1}}")
    try:
        planned = Schedule(**{"epochs": 1, **(schedule or {})})
    except ValidationError as error:
        raise SparrowError(_first(error, "schedule")) from None
    loss = checked(entry.prepare(settings, threat), f"objectives.{name}")
    return Training(loss, planned, str(name), settings.perturbs)


def _first(error: ValidationError, where: str) -> str:
    """The first of pydantic's mistakes as one line."""
    mistake = error.errors()[0]
    key = ".".join([where, *map(str, mistake["loc"])])
    said = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{key}: {said}" if mistake["type"] == "value_error" else f"{key}: {mistake['input']!r} is not valid: {said}"


def _checked(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor, int]:
    """Images and labels on the network's device, and its number of classes. Raises SparrowError unless they fit it."""
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point() or not len(images):
        raise SparrowError("images: not valid: must be a float tensor (n, c, h, w) of one image or more")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise SparrowError(
            f"images: {images.min():g} to {images.max():g} is not valid: must be in [0, 1]; normalise in a layer of the network"
        )
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise SparrowError(f"labels: not valid: must be a tensor ({len(images)},) of whole numbers, one for each image")
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else images.device
    images, labels = images.detach().to(device), labels.to(device).long()
    try:
        with torch.no_grad():
            logits = model(images[:1])
    except (RuntimeError, ValueError, TypeError) as error:
        raise SparrowError(f"model: cannot take these images: {str(error).splitlines()[0]}") from None
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1 or logits.shape[1] < 2:
        raise SparrowError("model: not valid: must give logits (n, classes) of two classes or more")
    classes = logits.shape[1]
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise SparrowError(f"labels: {labels.min()} to {labels.max()} is not valid: must be from 0 to {classes - 1}")
    require_numbers(model, images, size)
    return images, labels, classes


@contextmanager
def _quietly(seed: int, *parts: str) -> Iterator[torch.Generator]:
    """Seed everything as a job does, print nothing, and give the caller's random numbers back at the end."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), redirect_stdout(StringIO()):
            yield seed_everything(seed, *parts)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
