"""Images that an attack has moved, and what they say of a network: tensors alone, for a job and for Python."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import distance, project
from sparrow.adversary.margin import margin
from sparrow.adversary.params import Attack
from sparrow.jobs import journal
from sparrow.jobs.costs import METER
from sparrow.jobs.no_gradient import loss_blamed
from sparrow.jobs.progress import Progress
from sparrow.networks.batched import batches, predict
from sparrow.settings import Threat
from sparrow.stages import _attack_results, _attack_warnings

OTHER_CLASS = "other-class"
"""What found an image that only a search from an image of another class has found."""


class Case(NamedTuple):
    """A network in eval mode, labelled images (n, c, h, w) in [0, 1], and the attack that is to move them."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    classes: int
    kind: str
    entry: ModuleType
    params: Attack
    threat: Threat
    predictions: Tensor
    """Classes (n,) that the network gives to the images as they are."""

    @property
    def name(self) -> str:
        return f"attacks.{self.kind}"


class Search(NamedTuple):
    """What an attack gave back for each of n images; of those that it was not given, the image itself."""

    images: Tensor
    by: list[str]
    """Name of the part of the attack that found it; empty where there was no search."""
    starts_flat: list[int | str]
    """1 where the gradient was 0 at the start, 0 where not, empty where that is not known."""
    not_finite: int
    """Images that came back with pixels that are no finite numbers."""


class Outcome(NamedTuple):
    """What the images that an attack gave back say of a network, for each of n."""

    fooled: Tensor
    """Whether (n,) the network is wrong within the perturbation set, or on the image as it is."""
    margins: Tensor
    """Margins (n,) of the logits there."""
    distances: Tensor
    """Distances (n,) of the adversarial images: 0 where the network is wrong anyway, infinite where none was found."""
    nearest: Tensor
    """The images (n, c, h, w) that have these distances, where they are finite."""


def search(case: Case, targets: Tensor, tried: Tensor | None = None) -> Search:
    """Let the attack move the images `targets` (n,), bool, batch by batch; each batch is kept in the journal, if one is open.

    `tried` (m, n, c, h, w) are the images of other attacks, for one that searches nothing itself.
    """
    model, params = case.model, case.params
    found, by = case.images.clone(), [""] * len(case.images)
    starts_flat: list[int | str] = [""] * len(case.images)
    progress, not_finite = Progress(int(targets.sum()), "robust"), 0
    with _attack_results.unchanged(model, case.name):
        for number, batch in enumerate(batches(targets, params.batch_size)):
            (found[batch], lost), parts, zero = journal.compute_once(f"batch {number}", partial(_moved, case, batch, tried))
            not_finite += lost
            for place, name, there in zip(batch.tolist(), parts, _zero_gradient_cells(zero, len(batch)), strict=True):
                by[place], starts_flat[place] = name, there
            inside = project(found[batch], case.images[batch], case.threat)
            progress.done(len(batch), int((predict(model, inside, len(batch)) == case.labels[batch]).sum()))
        if params.minimum_norm and hasattr(case.entry, "restart"):
            nothing = targets & (predict(model, found, params.batch_size) == case.labels)
            for number, batch in enumerate(batches(nothing & _has_others(case), params.batch_size)):
                found[batch], _ = journal.compute_once(f"restart {number}", partial(_moved_from_others, case, batch))
                for place in batch.tolist():
                    by[place] = OTHER_CLASS
    return Search(found, by, starts_flat, not_finite)


def outcome(case: Case, found: Tensor) -> Outcome:
    """Project the images `found` onto the perturbation set, and classify them again before they count.

    Those of a minimum-norm attack are classified as they are, too: outside they say how far the nearest is.
    """
    threat, size, correct = case.threat, case.params.batch_size, case.predictions == case.labels
    far = distance(found, case.images, threat.norm)
    # What is inside stays as it is: projected once more, it might be rounded to the other side of the boundary.
    outside = _like_images(far > threat.eps, found)
    inside = torch.where(outside, project(found, case.images, threat), found)
    fooled, margins = _judge(case.model, inside, case.labels, size)
    distances = torch.where(fooled, distance(inside, case.images, threat.norm).clamp_max(threat.eps), torch.inf)
    nearest = inside
    if case.params.minimum_norm:
        also, _ = _judge(case.model, found, case.labels, size)
        nearest = torch.where(_like_images(fooled, found), inside, found)
        distances = torch.where(also & ~fooled, far, distances)
    distances[~correct] = 0
    return Outcome(fooled, margins, distances, nearest)


def doubts(case: Case, targets: Tensor, found: Search, judged: Outcome) -> list[str]:
    """Why what was found of the images `targets` (n,) may say little of the network, one line each; none, if nothing does."""
    starts_flat = [there for there in found.starts_flat if isinstance(there, int)]
    # Of an image that the network gets wrong anyway, or that nothing was found for, no part is named.
    broken = (case.predictions == case.labels) & judged.distances.isfinite()
    by = [name if there else "" for there, name in zip(broken.tolist(), found.by, strict=True)]
    said = _attack_warnings.about_network(case.model, case.images)
    said += _attack_warnings.about_attack(starts_flat, by, case.params.blind)
    said += _attack_warnings.about_numbers(found.not_finite, int(targets.sum()))
    return said + (_attack_warnings.about_distances(judged.distances[targets]) if case.params.minimum_norm else [])


def _like_images(which: Tensor, images: Tensor) -> Tensor:
    return which.view(-1, *[1] * (images.dim() - 1))


def _moved(case: Case, batch: Tensor, tried: Tensor | None) -> tuple[tuple[Tensor, int], list[str], Tensor | None]:
    """The images that the attack returns for a batch, and how many were not finite; the name of the part that found each; and
    where (n,) it started without a gradient."""
    entry, model, images, labels = case.entry, case.model, case.images[batch], case.labels[batch]
    given = (case.params, case.threat, case.classes, *(() if tried is None else (tried[:, batch],)))
    with METER.watching(model), loss_blamed(case.name, model, images):
        if hasattr(entry, "search"):
            results, parts, zero = _attack_results.parts_of(entry.search(model, images, labels, *given), f"{case.name}: search")
            return _attack_results.usable(results, images, f"{case.name}: search"), parts, zero
        if hasattr(entry, "transfer"):
            results = entry.transfer(model, images, labels, *given)
            return _attack_results.usable(results, images, f"{case.name}: transfer"), [case.kind] * len(images), None
        with _attack_warnings.first_gradient_watched(model, images) as zero_gradient:
            results = entry.attack(model, images, labels, *given)
    return _attack_results.usable(results, images, f"{case.name}: attack"), [case.kind] * len(images), zero_gradient()


def _moved_from_others(case: Case, batch: Tensor) -> tuple[Tensor, int]:
    """The images that a search from an image of another class returns for a batch, and how many were not finite."""
    images, labels = case.images[batch], case.labels[batch]
    others = torch.stack([_nearest_other(case, place) for place in batch.tolist()])
    with METER.watching(case.model):
        results = case.entry.restart(case.model, images, labels, case.params, case.threat, case.classes, others)
    return _attack_results.usable(results, images, f"{case.name}: restart")


def _zero_gradient_cells(zero_gradient: Tensor | None, count: int) -> list[int | str]:
    """Values of the column `zero_gradient` for `count` images: 1 or 0, or empty where it is not known."""
    return [""] * count if zero_gradient is None else zero_gradient.int().tolist()


def _has_others(case: Case) -> Tensor:
    """Whether there is, for each image (n,), another one that the network takes for another class than its own."""
    first = case.predictions[0]
    # One class for all images is another one for those of other classes.
    return (case.labels != first) | bool((case.predictions != first).any())


def _nearest_other(case: Case, place: int) -> Tensor:
    """The nearest (c, h, w) of the images that the network takes for another class than that of image `place`."""
    others = case.images[case.predictions != case.labels[place]]
    return others[distance(others, case.images[place : place + 1], case.threat.norm).argmin()]


def _judge(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which images (n,) fool the network, and the margins (n,) of their logits."""
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in images.split(size)])
    return logits.argmax(dim=1) != labels, margin(logits, labels)
