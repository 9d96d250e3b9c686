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
import logging
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sparrow.api import given
from sparrow.api.given import kinds
from sparrow.api.results import Attacked, Pruned, Verified
from sparrow.data.store import Part
from sparrow.errors import SparrowError
from sparrow.files import checkpoint, paths
from sparrow.files.csv_table import EXACT
from sparrow.networks.batched import predict
from sparrow.networks.modes import eval_mode
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, removed_filters
from sparrow.reproducible import seed_everything
from sparrow.settings import Norm
from sparrow.stages import attacked_images, verified_images
from sparrow.stages.pruned_network import How, pruned
from sparrow.training.loop import CURVE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Attacked", "Pruned", "SparrowError", "Verified", "attack", "kinds", "load", "prune", "tables", "verify"]


def load(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode on the CPU, and its header: its cell, its origin, what it was made by.

    A network that lost filters has its physical size. Raises CheckpointError, naming the file, if it is not a checkpoint, not
    whole, or made from files that have changed since; NetworkError, if it holds no network, and why.
    """
    if not Path(path).is_file():
        there = "a folder" if Path(path).is_dir() else "no such file"
        raise SparrowError(f"{path}: {there}; valid: a checkpoint of a study, such as dense.safetensors")
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
    given.require_network(model)
    entry, params, threat = given.evaluation("attacks", kind, eps, norm, options)
    if params.transfers:
        raise SparrowError(f"attacks.{kind}: tries what other attacks of a study have found; from Python, attack by those")
    with _quietly(seed, "attack", kind), eval_mode(model):
        images, labels, classes = given.fitting(model, images, labels, params.batch_size)
        if classes < params.classes_needed:
            raise SparrowError(f"attacks.{kind}: needs {params.classes_needed} classes, and the network has {classes}")
        predictions = predict(model, images, params.batch_size)
        correct = predictions == labels
        case = attacked_images.Case(model, images, labels, classes, kind, entry, params, threat, predictions)
        found = attacked_images.search(case, correct)
        outcome = attacked_images.outcome(case, found.images)
        doubts = attacked_images.doubts(case, correct, found, outcome)
    there = outcome.distances.isfinite()
    nearest = torch.where((there & (outcome.distances > 0)).view(-1, *[1] * (images.dim() - 1)), outcome.nearest, images)
    by = [name if hit else "" for name, hit in zip(found.by, there.tolist(), strict=True)]
    return Attacked(~outcome.fooled, nearest, outcome.distances, outcome.margins, by, doubts)


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
    given.require_network(model)
    given.require_own_weights(model)
    entry, params, threat = given.evaluation("verifiers", kind, eps, norm, options)
    failures: list[str] = []
    with _quietly(seed, "verify", kind) as generator, eval_mode(model):
        images, labels, classes = given.fitting(model, images, labels, params.batch_size)
        part = given.part_of(images, labels)
        if params.smoothed:
            part = Part(images * white, labels, part.indices, white)
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
    given.require_network(model)
    given.require_own_weights(model)
    entry, params = given.settings("methods", kind, options)
    share = given.share(ratio)
    smaller = copy.deepcopy(model).requires_grad_(True)
    with _quietly(seed, "prune", kind) as generator:
        if labels is None and params.needs != "nothing":
            raise SparrowError(f"methods.{kind}: trains the network or reads its gradients; give labels beside the images")
        known = labels if labels is not None else torch.zeros(len(images), dtype=torch.long)
        with eval_mode(smaller):
            images, known, _ = given.fitting(smaller, images, known, 512)
        training = None
        if params.needs != "nothing":
            training = given.training_of(kind, params, objective, eps, norm, schedule)
        parts = {"train": given.part_of(images, known)}
        parts["validation"] = parts["train"]
        if validation is not None:
            with eval_mode(smaller):
                held_out, theirs, _ = given.fitting(smaller, *validation, 512)
            parts["validation"] = given.part_of(held_out, theirs)
        how = How(kind, entry, params, share, seed, given.threat_of(f"methods.{kind}", params, eps, norm))
        shape = (images.shape[1], images.shape[2], images.shape[3])
        found = pruned(smaller, shape, parts, how, training, generator)
    curve = [dict(zip(CURVE_COLUMNS, row, strict=True)) for row in found.rows]
    gone = _share_gone(smaller, shape, found.masks, found.pruner.budget == "weights")
    return Pruned(smaller.eval(), found.masks, curve, gone)


def tables(results: str | Path) -> dict[str, pd.DataFrame]:
    """The tables of a study that has run, by name (`summary`, `ranking`, `costs`, ...), from its results folder.

    Radii are read with all of their digits. Raises SparrowError if there is none.
    """
    import pandas as pd

    found = {path.stem: path for path in sorted(Path(results).glob(paths.study_table("*")))}
    if not found:
        raise SparrowError(f"{results}: holds no tables; valid: the folder that a study names as `results`, once it has run")
    return {name: pd.read_csv(path, converters=EXACT) for name, path in found.items()}


def _share_gone(model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], of_weights: bool) -> float:
    """Share that is gone of all weights that can be pruned, or of all filters."""
    if of_weights:
        whole = [masks[name] for name in prunable_weights(model)]
    else:
        whole = [~removed_filters(group, masks) for group in Layout(model, shape).groups]
    return 1 - sum(int(one.sum()) for one in whole) / sum(one.numel() for one in whole)


@contextmanager
def _quietly(seed: int, *parts: str) -> Iterator[torch.Generator]:
    """Seed everything as a job does, say nothing, and give the caller's random numbers back at the end."""
    before, logged = (random.getstate(), np.random.get_state()), logging.root.manager.disable
    try:
        # What torch and auto_LiRPA say of themselves is nothing that a caller could act upon.
        logging.disable(logging.ERROR)
        with torch.random.fork_rng(), redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield seed_everything(seed, *parts)
    finally:
        logging.disable(logged)
        random.setstate(before[0])
        np.random.set_state(before[1])
