"""FMN: finds the nearest adversarial image by gradient steps inside a ball that shrinks or grows as they succeed or fail.

One run gives a whole security curve: accuracy at any radius is the share of images whose distance is larger. The defaults
are the paper's, but for one thing: until it has crossed the boundary, the ball grows in every step. HO-FMN tunes loss,
direction and step size for each network (Floris et al., "Improving Fast Minimum-Norm Attacks with Hyperparameter
Optimization", ESANN 2023; pralab/HO-FMN), and the Adversarial Pruning Benchmark reports distances so found;
`loss: dlr, direction: sign` is the setting that its own example uses.

A search that starts where the loss has a gradient of 0 makes no step. Where it has found no adversarial image at all, it
starts again from the nearest test image (in the threat's norm) that the network takes for another class, which is always an
adversarial image at some distance; the paper's adversarial initialisation takes an image of another class, too.

Source: Pintor et al., "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints", NeurIPS 2021, algorithm 1.

BibTeX:

@inproceedings{pintor2021fast,
  author = {Pintor, Maura and Roli, Fabio and Brendel, Wieland and Biggio, Battista},
  title = {Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from sparrow.adversary.params import Attack
from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat

DUAL = {"linf": 1, "l2": 2}
BISECTIONS = 20
"""Halvings of the line to an image of another class: its length is then known to a millionth."""


class Params(Attack):
    """Length of the search, and how its steps and its ball change: both along a cosine from start to end."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    minimum_norm: ClassVar[bool] = True
    steps: int = Field(100, ge=1)
    """Gradient steps."""
    loss: Literal["logits", "cross-entropy", "dlr"] = "logits"
    """What the steps descend on: the margin between the label's logit and the largest other one, minus the
    cross-entropy, or the margin over the spread of the logits (difference of logits ratio)."""
    direction: Literal["gradient", "sign"] = "gradient"
    """A step follows the gradient, scaled to length one in l2, or (as HO-FMN has it) its sign."""
    step_size: float = Field(1.0, gt=0)
    """First step (alpha in the paper); a hundredth of it is the last."""
    radius_change: float = Field(0.05, gt=0, lt=1)
    """By what share the ball shrinks or grows at first (gamma in the paper)."""
    radius_change_end: float = Field(0.001, gt=0, lt=1)
    """And at last."""


def passes(params: Params, classes: int) -> tuple[float, float]:
    """Forward passes and gradients of an image: two backward passes after a forward pass count as one gradient and a half."""
    return 0, 1.5 * (params.steps + 1)


def attack(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """The nearest adversarial images (n, c, h, w) found, whatever `threat.eps`; `images` where none was.

    Raises SparrowError for `dlr` with fewer than 3 classes.
    """
    return _search(model, images, labels, images, params, threat, classes)


def restart(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    params: Params,
    threat: Threat,
    classes: int,
    others: torch.Tensor,
) -> torch.Tensor:
    """The nearest adversarial images (n, c, h, w) found from where the lines to `others` cross the decision boundary.

    `others` (n, c, h, w) are images that `model` takes for another class than `labels`: the paper's adversarial
    initialisation.
    """
    view = (-1, *[1] * (images.dim() - 1))
    inside, beyond = images.new_zeros(len(images)), images.new_ones(len(images))
    for _ in range(BISECTIONS):
        share = (inside + beyond) / 2
        with torch.no_grad():
            fooled = model(torch.lerp(images, others, share.view(view))).argmax(dim=1) != labels
        inside, beyond = torch.where(fooled, inside, share), torch.where(fooled, share, beyond)
    return _search(model, images, labels, torch.lerp(images, others, beyond.view(view)), params, threat, classes)


def _search(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    start: torch.Tensor,
    params: Params,
    threat: Threat,
    classes: int,
) -> torch.Tensor:
    from sparrow.adversary.geometry import distance, project
    from sparrow.adversary.margin import margin
    from sparrow.adversary.search import live_network, misclassified
    from sparrow.errors import SparrowError

    if params.loss == "dlr" and classes < 3:
        raise SparrowError(f"fmn: the data set has {classes} classes; the loss dlr needs at least 3")
    view, searched = (-1, *[1] * (images.dim() - 1)), live_network(model, images)
    nearest = images.clone()
    farthest = distance(torch.where(images < 0.5, 1.0, 0.0), images, threat.norm)
    shortest, radius = farthest.clone(), distance(start, images, threat.norm)
    found = torch.zeros_like(labels, dtype=torch.bool)
    current = start.clone()
    for step in range(params.steps + 1):
        cosine = (1 + math.cos(math.pi * step / params.steps)) / 2
        size = params.step_size * (0.01 + 0.99 * cosine)
        change = params.radius_change_end + (params.radius_change - params.radius_change_end) * cosine
        with torch.enable_grad():
            current.requires_grad_(True)
            logits = searched(current)
            edge, loss = margin(logits, labels), _loss(logits, labels, params.loss)
            (gradient,) = torch.autograd.grad(loss.sum(), current, retain_graph=True)
            (steepness,) = torch.autograd.grad(edge.sum(), current)
        current = current.detach()
        length = distance(current, images, threat.norm)
        fooled = misclassified(searched, current, labels, logits.detach())
        better = fooled & (length <= shortest)
        shortest = torch.where(better, length, shortest)
        nearest = torch.where(better.view(view), current, nearest)
        found |= fooled
        # Where the boundary would be if the margin were linear, until one adversarial image is known (eq. 3); but farther
        # than the last time, for from inside the estimate comes ever closer to the boundary and never crosses it.
        slope = steepness.flatten(1).norm(p=DUAL[threat.norm], dim=1).clamp_min(1e-12)
        ahead = torch.maximum(length + edge.detach().abs() / slope, radius * (1 + change))
        radius = torch.where(
            fooled, torch.minimum(radius * (1 - change), shortest), torch.where(found, radius * (1 + change), ahead)
        ).minimum(farthest)
        if params.direction == "sign":
            gradient = gradient.sign()
        else:
            gradient = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(view)
        current = project(current - size * gradient, images, threat, radius.view(view))
    return nearest


def _loss(logits: torch.Tensor, labels: torch.Tensor, name: str) -> torch.Tensor:
    """What the steps descend on (n,): the smaller, the nearer to another class than the label."""
    from sparrow.adversary.margin import margin

    if name == "cross-entropy":
        return -torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    if name == "logits":
        return margin(logits, labels)
    ordered = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ordered[:, 0] - ordered[:, 2]).clamp_min(1e-12)
