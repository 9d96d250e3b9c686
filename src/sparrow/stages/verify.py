"""Verify a network and write down for which test images it provably cannot be fooled."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.data._store import Part
from sparrow.errors import SparrowError
from sparrow.outcome_table import ABSTAINED
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Evaluation, Threat
from sparrow.stages._evaluation import Progress, batches, margin, open_case, write_outcomes


def verify(network: Path, data: Path, output: Path, cost: Path, spec: dict) -> None:
    """Run `spec["verifier"]` on the test images that `network` classifies correctly.

    Status `verified`: the lower bound on the margin is above zero; `falsified`: the network is wrong on the image as it
    is; `unknown`: neither. The margin is the bound, or that of the image as it is where that is wrong. A verifier of a
    smoothed classifier predicts all images itself; where it abstains, the status is `unknown`.
    Raises SparrowError if a bound is not a number.
    """
    with measured(cost):
        generator = seed_everything(spec["seed"], "verify", spec["verifier"]["kind"])
        entry, params = catalogue.from_spec("verifiers", spec["verifier"])
        case = Case(*open_case(network, data, spec, params, pick_device()), params, Threat(**spec["threat"]))
        if hasattr(entry, "certify"):
            predictions, margins = entry.certify(case.model, case.part.images, params, case.threat, case.classes, generator)
        else:
            predictions, margins = _bounds(entry, case)
        if margins.isnan().any():
            raise SparrowError(f"{network}: {spec['verifier']['kind']} gave a bound that is not a number")
        status = [
            "verified" if right and bound > 0 else "unknown" if right or abstained else "falsified"
            for right, abstained, bound in zip(
                (predictions == case.part.labels).tolist(), (predictions == ABSTAINED).tolist(), margins.tolist(), strict=True
            )
        ]
        print(f"{spec['verifier']['kind']}: {status.count('verified')} of {len(status)} images verified")
        write_outcomes(output, case.part, predictions, status, margins, case.threat)


class Case(NamedTuple):
    """What is verified."""

    model: nn.Module
    part: Part
    classes: int
    params: Evaluation
    threat: Threat


def _bounds(entry: ModuleType, case: Case) -> tuple[Tensor, Tensor]:
    """Predictions (n,), and bounds (n,) on the margins; the margin itself where the prediction is wrong."""
    images, labels, size = case.part.images, case.part.labels, case.params.batch_size
    with torch.no_grad():
        logits = torch.cat([case.model(batch) for batch in images.split(size)])
    predictions, margins = logits.argmax(dim=1), margin(logits, labels)
    correct = predictions == labels
    progress = Progress(int(correct.sum()), "verified")
    for batch in batches(correct, size):
        margins[batch] = entry.bound(case.model, images[batch], labels[batch], case.params, case.threat, case.classes)
        progress.done(len(batch), int((margins[batch] > 0).sum()))
    return predictions, margins
