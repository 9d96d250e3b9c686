"""Attack a network and write down which test images survive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary.geometry import distance, project
from sparrow.adversary.margin import margin
from sparrow.data.store import Part
from sparrow.files import examples as examples_file
from sparrow.files.outcome_table import MISCLASSIFIED, ORIGIN, verified_images
from sparrow.files.specs import opened
from sparrow.jobs import journal
from sparrow.jobs.costs import METER, record_cost
from sparrow.jobs.no_gradient import loss_blamed
from sparrow.jobs.progress import Progress
from sparrow.jobs.resume_point import resumable
from sparrow.networks.batched import batches, predict
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages import _attack_results, _attack_warnings
from sparrow.stages._evaluation import failed_table, open_case, origin, write_outcomes
from sparrow.stages._failure import recorded
from sparrow.stages._origin import examples_header
from sparrow.stages.specs.evaluation import AttackSpec

OTHER_CLASS = "other-class"
"""What found an image that only a search from an image of another class has found."""


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
        threat, minimum_norm = spec.threat, params.minimum_norm
        model, part, classes = open_case(network, data, spec.model, params, pick_device())
        about = origin(network, data, spec)
        predictions = predict(model, part.images, params.batch_size)
        warnings = _attack_warnings.about_network(model, part.images)
        found, by = part.images.clone(), [""] * len(part)
        starts_flat: list[int | str] = [""] * len(part)
        correct = predictions == part.labels
        targets = correct & ~_proven(proofs, part, threat, about)
        if proofs:
            print(f"{int((correct & ~targets).sum())} of {int(correct.sum())} correct images are verified, and left out")
        tried = _tried(transferred, dense, part, targets) if params.transfers else None
        progress = Progress(int(targets.sum()), "robust")

        def search(batch: Tensor) -> tuple[tuple[Tensor, int], list[str], Tensor | None]:
            images, labels = part.images[batch], part.labels[batch]
            given = (params, threat, classes, *(() if tried is None else (tried[:, batch],)))
            with METER.watching(model):
                return _attack_batch(entry, kind, model, images, labels, *given)

        def search_again(batch: Tensor) -> tuple[Tensor, int]:
            images, labels = part.images[batch], part.labels[batch]
            others = torch.stack([_nearest_other(part, predictions, place, threat) for place in batch.tolist()])
            with METER.watching(model):
                results = entry.restart(model, images, labels, params, threat, classes, others)
            return _attack_results.usable(results, images, f"attacks.{kind}: restart")

        not_finite = 0
        with _attack_results.unchanged(model, f"attacks.{kind}"), journal.open_journal(resume, generator):
            for number, batch in enumerate(batches(targets, params.batch_size)):
                (found[batch], lost), parts, zero = journal.compute_once(f"batch {number}", partial(search, batch))
                not_finite += lost
                for place, name, there in zip(batch.tolist(), parts, _zero_gradient_cells(zero, len(batch)), strict=True):
                    by[place], starts_flat[place] = name, there
                inside = project(found[batch], part.images[batch], threat)
                progress.done(len(batch), int((predict(model, inside, len(batch)) == part.labels[batch]).sum()))
            if minimum_norm and hasattr(entry, "restart"):
                nothing = targets & (predict(model, found, params.batch_size) == part.labels)
                for number, batch in enumerate(batches(nothing & _has_others(part, predictions), params.batch_size)):
                    found[batch], _ = journal.compute_once(f"restart {number}", partial(search_again, batch))
                    for place in batch.tolist():
                        by[place] = OTHER_CLASS
        far = distance(found, part.images, threat.norm)
        # What is inside stays as it is: projected once more, it might be rounded to the other side of the boundary.
        outside = (far > threat.eps).view(-1, *[1] * (found.dim() - 1))
        inside = torch.where(outside, project(found, part.images, threat), found)
        fooled, margins = _judge(model, inside, part.labels, params.batch_size)
        distances = torch.where(fooled, distance(inside, part.images, threat.norm).clamp_max(threat.eps), torch.inf)
        nearest = inside
        if minimum_norm:
            also, _ = _judge(model, found, part.labels, params.batch_size)
            nearest = torch.where(fooled.view(-1, *[1] * (found.dim() - 1)), inside, found)
            distances = torch.where(also & ~fooled, far, distances)
        distances[~correct] = 0
        by = [
            (name if right else MISCLASSIFIED) if there else ""
            for right, there, name in zip(correct.tolist(), distances.isfinite().tolist(), by, strict=True)
        ]
        warnings += _attack_warnings.about_attack([there for there in starts_flat if isinstance(there, int)], by, params.blind)
        warnings += _attack_warnings.about_numbers(not_finite, int(targets.sum()))
        if minimum_norm:
            warnings += _attack_warnings.about_distances(distances[targets])
        for warning in warnings:
            print(f"warning: {warning}")
        status = ["broken" if broken else "robust" for broken in fooled.tolist()]
        print(f"{kind}: {status.count('robust')} of {len(status)} images robust")
        if examples is not None:
            kept = (correct & distances.isfinite()).cpu()
            examples_file.write(examples, part.indices[kept], nearest[kept.to(nearest.device)], examples_header(network, spec))
        columns = predictions, status, margins, distances, starts_flat, by, ["; ".join(warnings)] * len(part)
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


def _attack_batch(
    entry: ModuleType, kind: str, model: nn.Module, images: Tensor, labels: Tensor, *rest: object
) -> tuple[tuple[Tensor, int], list[str], Tensor | None]:
    """The images that an attack returns, and how many were not finite; the name of the part that found each; and where (n,) it
    started without a gradient."""
    name = f"attacks.{kind}"
    with loss_blamed(name, model, images):
        if hasattr(entry, "search"):
            results, parts, zero = _attack_results.parts_of(entry.search(model, images, labels, *rest), f"{name}: search")
            return _attack_results.usable(results, images, f"{name}: search"), parts, zero
        if hasattr(entry, "transfer"):
            results = entry.transfer(model, images, labels, *rest)
            return _attack_results.usable(results, images, f"{name}: transfer"), [kind] * len(images), None
        with _attack_warnings.first_gradient_watched(model, images) as zero_gradient:
            results = entry.attack(model, images, labels, *rest)
    return _attack_results.usable(results, images, f"{name}: attack"), [kind] * len(images), zero_gradient()


def _zero_gradient_cells(zero_gradient: Tensor | None, count: int) -> list[int | str]:
    """Values of the column `zero_gradient` for `count` images: 1 or 0, or empty where it is not known."""
    return [""] * count if zero_gradient is None else zero_gradient.int().tolist()


def _has_others(part: Part, predictions: Tensor) -> Tensor:
    """Whether there is, for each image (n,), another one that the network takes for another class than its own."""
    first = predictions[0]
    # One class for all images is another one for those of other classes.
    return (part.labels != first) | bool((predictions != first).any())


def _nearest_other(part: Part, predictions: Tensor, place: int, threat: Threat) -> Tensor:
    """The nearest (c, h, w) of the images that the network takes for another class than that of image `place`."""
    others = part.images[predictions != part.labels[place]]
    return others[distance(others, part.images[place : place + 1], threat.norm).argmin()]


def _judge(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which images (n,) fool the network, and the margins (n,) of their logits."""
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in images.split(size)])
    return logits.argmax(dim=1) != labels, margin(logits, labels)
