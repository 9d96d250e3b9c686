"""Attack a network and write down which test images survive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.files import examples as examples_file
from sparrow.files.outcome_table import MISCLASSIFIED, ORIGIN, verified_images
from sparrow.files.specs import opened
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.networks.batched import predict
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages._evaluation import failed_table, open_case, origin, write_outcomes
from sparrow.stages._failure import recorded
from sparrow.stages._origin import examples_header
from sparrow.stages.attacked_images import Case, doubts, outcome, search
from sparrow.stages.specs.evaluation import AttackSpec


def _failed(
    message: str, output: Path, network: Path, data: Path, spec: AttackSpec, examples: Path | None = None, **unused: Any
) -> None:
    failed_table(message, output, network, data, spec)
    if examples is not None:
        examples_file.write(examples, torch.empty(0, dtype=torch.long), torch.empty(0, 0, 0, 0), examples_header(network, spec))


@opened(AttackSpec)
@recorded(_failed)
def attack(
    network: Path,
    data: Path,
    output: Path,
    cost: Path,
    spec: AttackSpec,
    examples: Path | None = None,
    proofs: Sequence[Path] = (),
    transferred: Sequence[Path] = (),
    dense: Sequence[Path] = (),
) -> None:
    """Attack the test images that `network` classifies correctly; write what is found to `examples`.

    Images that one of the outcome tables in `proofs` verifies are left out. An attack that searches nothing tries the
    adversarial examples in `transferred`, which are those of the network in `dense`.

    Status `robust`: correct, and still correct after the attack or left out; `broken`: anything else. The attack's images are
    projected onto the perturbation set and classified again before they count; those of a minimum-norm attack also as
    they are, with the distance that they have. The margin is that of the logits within the perturbation set, or of the
    image as it is where the network is wrong anyway.
    """
    with resumable(output, spec.model_dump(), network, data, *proofs, *transferred) as resume, record_cost(cost):
        kind = spec.attack["kind"]
        generator = seed_everything(spec.seed, "attack", kind)
        entry, params = catalogue.from_spec("attacks", spec.attack)
        threat = spec.threat
        model, part, classes = open_case(network, data, spec.model, params, pick_device())
        about = origin(network, data, spec)
        predictions = predict(model, part.images, params.batch_size)
        case = Case(model, part.images, part.labels, classes, kind, entry, params, threat, predictions)
        correct = predictions == part.labels
        targets = correct & ~_proven(proofs, part, threat, about)
        if proofs:
            print(f"{int((correct & ~targets).sum())} of {int(correct.sum())} correct images are verified, and left out")
        tried = _tried(transferred, dense, part, targets) if params.transfers else None
        with journal.open_journal(resume, generator):
            found = search(case, targets, tried)
        judged = outcome(case, found.images)
        fooled, margins, distances, nearest = judged
        by = [
            (name if right else MISCLASSIFIED) if there else ""
            for right, there, name in zip(correct.tolist(), distances.isfinite().tolist(), found.by, strict=True)
        ]
        warnings = doubts(case, targets, found, judged)
        for warning in warnings:
            print(f"warning: {warning}")
        status = ["broken" if broken else "robust" for broken in fooled.tolist()]
        print(f"{kind}: {status.count('robust')} of {len(status)} images robust")
        if examples is not None:
            kept = (correct & distances.isfinite()).cpu()
            examples_file.write(examples, part.indices[kept], nearest[kept.to(nearest.device)], examples_header(network, spec))
        columns = predictions, status, margins, distances, found.starts_flat, by, ["; ".join(warnings)] * len(part)
        write_outcomes(output, part, "attacks", columns, threat, about)


def _proven(proofs: Sequence[Path], part: Part, threat: Threat, about: tuple[str, str, str]) -> Tensor:
    """Which images (n,) no attack can break, as verifiers' outcome tables of the same network and data set say."""
    own = dict(zip(ORIGIN, about, strict=True)) | {"spec": None}
    indices = set().union(*(verified_images(path, threat, own) for path in proofs))
    return torch.tensor([index in indices for index in part.indices.tolist()], device=part.images.device)


def _tried(transferred: Sequence[Path], dense: Sequence[Path], part: Part, targets: Tensor) -> Tensor:
    """The adversarial examples (m, n, c, h, w) of m files; where one has none, the image itself."""
    for network in dense:
        examples_file.require_own(transferred, network)
    found = [examples_file.found_of(path, part.indices, part.images) for path in transferred]
    there = torch.stack([which for which, _ in found]).any(dim=0)
    print(
        f"{int((there & targets).sum())} of {int(targets.sum())} correct images have an adversarial image of the dense network"
    )
    return torch.stack([images for _, images in found])
