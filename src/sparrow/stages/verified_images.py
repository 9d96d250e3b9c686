"""What a verifier decides on images: tensors alone but for kept adversarial examples, for a job and for Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import project
from sparrow.adversary.margin import margin
from sparrow.data.store import Part
from sparrow.files import examples as examples_file
from sparrow.files.outcome_table import ABSTAINED, ATTACK, MISCLASSIFIED, NOTHING
from sparrow.jobs import journal
from sparrow.jobs.progress import Progress
from sparrow.networks.batched import batches
from sparrow.settings import Threat
from sparrow.verification.decision import Decision, decide_by, part_size
from sparrow.verification.memory import in_parts, memory_limited
from sparrow.verification.params import Verifier


class Case(NamedTuple):
    """A network, the test images to verify, how, and against which threat."""

    model: nn.Module
    part: Part
    classes: int
    params: Verifier
    threat: Threat


Columns = tuple[Tensor, list[str], Tensor, list[str]]
"""Predictions (n,), status, margins (n,), and what decided."""


def smoothed(entry: ModuleType, kind: str, case: Case, generator: torch.Generator) -> Columns:
    def certify(place: int) -> tuple[Tensor, Tensor]:
        image = case.part.images[place : place + 1]
        return tuple(entry.certify(case.model, image, case.params, case.threat, case.classes, generator, case.part.white))

    found = [journal.compute_once(f"{kind} {place}", partial(certify, place)) for place in range(len(case.part))]
    predictions, margins = (torch.cat(column) for column in zip(*found, strict=True))
    right, abstained = (predictions == case.part.labels).tolist(), (predictions == ABSTAINED).tolist()
    status, decided = [], []
    for correct, silent, bound in zip(right, abstained, margins.tolist(), strict=True):
        verified = correct and bound > 0
        status.append("verified" if verified else "unknown" if correct or silent else "falsified")
        decided.append(kind if verified else NOTHING if correct or silent else MISCLASSIFIED)
    return predictions, status, margins, decided


def bounded(entry: ModuleType, kind: str, case: Case, examples: Sequence[Path], failures: list[str]) -> Columns:
    images, labels, size = case.part.images, case.part.labels, case.params.batch_size
    with torch.no_grad():
        logits = torch.cat([case.model(batch) for batch in images.split(size)])
    predictions, margins = logits.argmax(dim=1), margin(logits, labels)
    correct = predictions == labels
    status = ["unknown" if right else "falsified" for right in correct.tolist()]
    decided = [NOTHING if right else MISCLASSIFIED for right in correct.tolist()]
    left = correct.clone()
    for path in examples:
        broken, margins_there = _recheck(path, case, left)
        margins = torch.where(broken, margins_there, margins)
        left &= ~broken
        for place in broken.nonzero().squeeze(1).tolist():
            status[place], decided[place] = "falsified", ATTACK
    margins[left] = -torch.inf  # Until a bound says more.
    progress = Progress(int(left.sum()), "verified", kind)

    def work(part: Tensor) -> tuple:
        return tuple(decide_by(entry, kind, case.model, images[part], labels[part], case.params, case.threat, case.classes))

    def accept(part: Tensor, done: tuple) -> None:
        found = Decision(*done)
        failures.extend(line for line in found.failures if line not in failures)
        margins[part] = found.margins.to(margins.dtype)
        for place, proved, refuted, by in zip(
            part.tolist(), found.verified.tolist(), found.falsified.tolist(), found.decided, strict=True
        ):
            status[place] = "verified" if proved else "falsified" if refuted else "unknown"
            decided[place] = by
        progress.done(len(part), int(found.verified.sum()))

    indices = left.nonzero().squeeze(1)
    with memory_limited(getattr(case.params, "memory_mb", None)):
        # A cascade packs its own batches.
        size = max(len(indices), 1)
        if not hasattr(entry, "members"):
            size = part_size(entry, case.model, images[indices[:1]], case.params, case.classes)
        in_parts(work, accept, indices, size, kind)
    return predictions, status, margins, decided


def _recheck(path: Path, case: Case, left: Tensor) -> tuple[Tensor, Tensor]:
    """Whether an adversarial example in `path` breaks each image (n,) of those `left`, and the margins (n,) there."""
    there, found = examples_file.found_of(path, case.part.indices, case.part.images)
    broken, margins = torch.zeros_like(left), torch.zeros(len(left), device=left.device)
    for batch in batches(there & left, case.params.batch_size):
        with torch.no_grad():
            logits = case.model(project(found[batch], case.part.images[batch], case.threat))
        broken[batch] = logits.argmax(dim=1) != case.part.labels[batch]
        margins[batch] = margin(logits, case.part.labels[batch])
    return broken, margins
