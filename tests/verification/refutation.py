"""What becomes of bounds on random networks: sound, refused by name, or refuted by points that the guard knows nothing of."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary.margin import margin
from sparrow.errors import NetworkError
from sparrow.settings import Threat
from sparrow.verification.bounds import margin_matrix
from sparrow.verification.crown import input_ranges
from sparrow.verification.decision import decide_by
from tests.verification.random_networks import RandomNetwork

BOUNDS = {
    "ibp": {},
    "crown-ibp": {},
    "crown": {},
    "alpha-crown": {"iterations": 3},
    "branch-and-bound": {"iterations": 2, "domains": 6, "seconds": 5, "attack_steps": 2, "attack_restarts": 1},
    "ranges": {},
}
"""The verifiers, with settings that make slow ones quick, and the ranges of ReLUs that `stability` counts."""
FEWER = {"branch-and-bound": 1}
"""Images at most, of bounds that take long."""
RADII = (1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.5)
ROUNDING = 2e-5
"""By how much float32 may lift a bound over a margin, in units of the largest logit, or of 1 if that is more."""
POINTS, STEPS, RESTARTS = 48, 12, 2
VERDICTS = ("sound", "refused", "caught", "nameless", "crashed", "unsound")
"""`caught` are refused because a point has refuted them, `nameless` without a layer's name."""
CAUGHT = (
    "above the margin of a point",
    "lower bounds above upper ones",
    "a range that it leaves",
    "not a number",
    "other logits",
)


class Verdict(NamedTuple):
    """What became of the bound of some images, by how much it was wrong in units of ROUNDING, and what it said if refused."""

    bound: str
    counts: dict[str, int]
    excess: float
    reason: str


def spread(images: Tensor, threat: Threat, count: int) -> Tensor:
    """Points (count, n, c, h, w) of the perturbation sets, half of them as far out as these go."""
    shape = (count, *images.shape)
    if threat.norm == "linf":
        offsets = 2 * torch.rand(shape, dtype=images.dtype) - 1
        offsets[::2] = offsets[::2].sign()
        return _clipped(images + threat.eps * offsets, images, threat)
    offsets = torch.randn(shape, dtype=images.dtype)
    radii = torch.rand(shape[:2], dtype=images.dtype) ** (1 / images[0].numel())
    radii[::2] = 1
    return images + threat.eps * offsets * (radii / offsets.flatten(2).norm(dim=2)).view(*shape[:2], 1, 1, 1)


def _clipped(points: Tensor, images: Tensor, threat: Threat) -> Tensor:
    """The nearest points of the perturbation sets: for linf, of the box within [0, 1]; for l2, of the ball."""
    if threat.norm == "linf":
        return points.clamp((images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1))
    offsets = points - images
    length = offsets.flatten(-3).norm(dim=-1).clamp_min(1e-30).view(*offsets.shape[:-3], 1, 1, 1)
    return images + offsets * (threat.eps / length).clamp(max=1)


def points(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int) -> Tensor:
    """Points (points, n, c, h, w): the images, some at random, and the ends of a descent on each difference of logits."""
    specification = margin_matrix(labels, classes).to(images.dtype)
    paths = RESTARTS * (classes - 1)
    rows = specification.transpose(0, 1).repeat(RESTARTS, 1, 1)  # (paths, n, classes)
    moving = spread(images, threat, paths)
    moving[: classes - 1] = images
    for step in range(STEPS):
        moving.requires_grad_()
        logits = model(moving.flatten(0, 1)).view(paths, len(images), classes)
        (gradient,) = torch.autograd.grad((logits * rows).sum(), moving)
        gradient = gradient.nan_to_num()
        if threat.norm == "linf":
            direction = gradient.sign()
        else:
            direction = gradient / gradient.flatten(2).norm(dim=2).clamp_min(1e-30).view(paths, -1, 1, 1, 1)
        size = 2 * threat.eps * (1 - step / STEPS)
        moving = _clipped(moving.detach() - size * direction, images, threat)
    return torch.cat([images.unsqueeze(0), spread(images, threat, POINTS), moving])


def smallest_affine(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int) -> Tensor:
    """The smallest margins (n,) of an affine network, in closed form: each difference's gradient is the same everywhere."""
    moving = images.clone().requires_grad_()
    specification = margin_matrix(labels, classes).to(images.dtype)
    differences = torch.einsum("nkc,nc->nk", specification, model(moving))
    found = []
    for number in range(classes - 1):
        (gradient,) = torch.autograd.grad(differences[:, number].sum(), moving, retain_graph=True)
        if threat.norm == "linf":
            lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
            change = torch.where(gradient > 0, gradient * (lower - images), gradient * (upper - images)).flatten(1).sum(dim=1)
        else:
            change = -threat.eps * gradient.flatten(1).norm(dim=1)
        found.append(differences[:, number].detach() + change)
    return torch.stack(found).amin(dim=0)


class Refutation(NamedTuple):
    """Of each image, the smallest margin (n,) and the largest logit that points have, and what enters ReLUs there."""

    worst: Tensor
    scale: Tensor
    entering: list[Tensor]


def refutation(network: RandomNetwork, threat: Threat) -> Refutation:
    """What can be held against bounds, in double precision."""
    model, images = copy.deepcopy(network.model).double(), network.images.double()
    there = points(model, images, network.labels, threat, network.classes)
    entering: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: entering.append(given[0].unflatten(0, there.shape[:2])))
        for layer in model.modules()
        if isinstance(layer, nn.ReLU)
    ]
    with torch.no_grad():
        logits = model(there.flatten(0, 1))
    for hook in hooks:
        hook.remove()
    worst = margin(logits, network.labels.repeat(len(there))).view(len(there), -1).amin(dim=0)
    if network.affine:
        exact = smallest_affine(model, images, network.labels, threat, network.classes)
        assert (worst >= exact - 1e-6 * exact.abs().clamp_min(1)).all(), "what is found is above what is known"
        worst = torch.minimum(worst, exact)
    return Refutation(worst, logits.abs().amax(dim=1).view(len(there), -1).amax(dim=0).clamp_min(1), entering)


def verdicts(network: RandomNetwork, threat: Threat, kinds: tuple[str, ...] = tuple(BOUNDS)) -> Iterator[Verdict]:
    """One verdict for each kind of bound on the network's images."""
    known = refutation(network, threat)
    for kind in kinds:
        few = FEWER.get(kind, len(network.images))
        try:
            excess = _excess(kind, network, threat, known, few)
        except NetworkError as error:
            yield Verdict(kind, {_refusal(str(error)): few}, 0.0, str(error))
        except Exception as error:
            yield Verdict(kind, {"crashed": few}, 0.0, f"{type(error).__name__}: {error}")
        else:
            wrong = int((excess > 1).sum())
            yield Verdict(kind, {"sound": few - wrong, "unsound": wrong}, float(excess.max()), "")


def _refusal(reason: str) -> str:
    """Which of VERDICTS a refusal is, by what it says."""
    if any(words in reason for words in CAUGHT):
        return "caught"
    named = re.search(r"(layer \S+|operation) \(\w+\)|NotImplementedError: [a-z]", reason)
    return "refused" if named else "nameless"


def _excess(kind: str, network: RandomNetwork, threat: Threat, known: Refutation, few: int) -> Tensor:
    """By how much each bound (n,) is above what is known, in units of what rounding may do."""
    images, labels = network.images[:few], network.labels[:few]
    if kind == "ranges":
        return _outside(input_ranges(network.model, images, labels, threat, network.classes), known.entering, few)
    entry = catalogue.load("verifiers", kind)
    found = decide_by(entry, kind, network.model, images, labels, entry.Params(**BOUNDS[kind]), threat, network.classes)
    # An adversarial example is one or is none; the margin that belongs to it bounds nothing.
    bounds = torch.where(found.falsified, -torch.inf, found.margins).double()
    return (bounds - known.worst[:few]) / (ROUNDING * known.scale[:few])


def _outside(ranges: list[tuple[Tensor, Tensor]], entering: list[Tensor], few: int) -> Tensor:
    """By how much values (points, n, ...) of each of `few` images leave their ranges (n, ...), in units of rounding's."""
    entering = [values[:, :few] for values in entering]
    if [lower.shape for lower, _ in ranges] != [values.shape[1:] for values in entering]:
        raise AssertionError("ranges are not those of what enters the ReLUs")
    worst = [torch.zeros(few, dtype=torch.double)]
    for (lower, upper), values in zip(ranges, entering, strict=True):
        beyond = torch.maximum(lower - values, values - upper).amax(dim=0).flatten(1).amax(dim=1)
        worst.append(beyond / (ROUNDING * values.abs().flatten(2).amax(dim=2).amax(dim=0).clamp_min(1)))
    return torch.stack(worst).amax(dim=0)
