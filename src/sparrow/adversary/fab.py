"""Targeted FAB: steps to the linearised boundary between the label and a target, and back towards the image.

An image is removed from the search as soon as a misclassified one is found within the radius, with all its copies on the way
to other targets.

Source: Croce and Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML 2020,
algorithm 1; without random restarts, as in AutoAttack.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparrow.adversary.batches import logits, losses_and_gradients
from sparrow.adversary.geometry import distance
from sparrow.adversary.margin import margin
from sparrow.adversary.record import Record
from sparrow.adversary.search import confirmed
from sparrow.adversary.survivors import Survivors
from sparrow.settings import Norm, Threat

ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9


@dataclass
class _Walk(Survivors):
    """The state of each walk."""

    centre: Tensor
    """The images (rows, c, h, w)."""
    point: Tensor
    """The current points of the walks (rows, c, h, w)."""


def fab(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    threat: Threat,
    steps: int,
    record: Record | None = None,
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are misclassified within `threat` on the way to `targets` (n,), and these adversarial images
    (n, c, h, w), `images` elsewhere.

    With targets (n, copies), as many copies of each image go to one class each, and of those that are misclassified at the same
    step the first counts. `record`, if given, notes the points of smallest margin within the radius.
    """
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    view = (-1, *[1] * (images.dim() - 1))
    targets = targets.view(len(images), -1)
    copies = targets.shape[1]
    images, labels, targets = images.repeat(copies, *view[1:]), labels.repeat(copies), targets.T.flatten()
    now = _Walk(labels=labels, copies=copies, centre=images, point=images)

    def towards(output: Tensor, places: Tensor) -> Tensor:
        """The target's logit minus the label's (rows,)."""
        own, other = (output.gather(1, of[places, None]).squeeze(1) for of in (labels, targets))
        return other - own

    for _ in range(steps):
        if not len(now):
            break
        _, ahead, normal = losses_and_gradients(model, now.point, towards, now.places)
        from_image = ahead + (normal * (now.centre - now.point)).flatten(1).sum(dim=1)
        # One after the other: together, images of 32 x 32 take twice the time.
        here, there = (
            to_hyperplane(point, normal, value, threat.norm) for point, value in ((now.point, ahead), (now.centre, from_image))
        )
        size, other = (_length(change, threat.norm).clamp_min(1e-8) for change in (here, there))
        alpha = (size / (size + other)).clamp_max(ALPHA_MAX).view(view)
        now.point = ((1 - alpha) * (now.point + ETA * here) + alpha * (now.centre + ETA * there)).clamp(0, 1)
        output = logits(model, now.point)
        wrong = output.argmax(dim=1) != now.labels
        near = distance(now.point, now.centre, threat.norm) <= threat.eps
        if record is not None and bool(near.any()):
            record.note(now.images, now.point, margin(output, now.labels).masked_fill(~near, torch.inf))
        done = confirmed(model, now.point, now.labels, wrong & near)
        if bool(done.any()):
            gone, rows = now.first_rows(done)
            broken[now.images[gone]], result[now.images[gone]] = True, now.point[rows]
        now.point = torch.where(wrong.view(view), now.centre + BETA * (now.point - now.centre), now.point)
        now.keep(~done.view(copies, -1).any(dim=0))
    return broken, result


def to_hyperplane(points: Tensor, normal: Tensor, value: Tensor, norm: Norm) -> Tensor:
    """The shortest changes (n, c, h, w) after which `value + normal * change` is 0 (or nearest to it) inside [0, 1].

    `value` (n,) is that of a linear function at `points`, `normal` (n, c, h, w) its gradient. Each pixel moves at a rate of
    its own (1 in l_inf, its weight in l_2) until it meets the edge of the box, so what is covered is concave and piecewise
    linear in time: Newton's method from 0 never overshoots, and ends after as many steps as there are pieces on its way.
    """
    weight = normal.abs().flatten(1)
    sign = -normal.flatten(1).sign() * value.sign().unsqueeze(1)
    flat = points.flatten(1)
    room = torch.where(sign > 0, 1 - flat, flat)
    rate = weight.new_ones(()) if norm == "linf" else weight
    gain = weight * rate
    needed = value.abs()
    time = torch.zeros_like(needed)
    for _ in range(weight.shape[1]):
        moved = torch.minimum(time.unsqueeze(1) * rate, room)
        slope = torch.linalg.vecdot(gain, (moved < room).to(gain))
        short = needed - torch.linalg.vecdot(weight, moved)
        # An image is done where no pixel can move any more, or where only rounding is missing.
        moving = (slope > 0) & (short > 1e-6 * needed)
        if not bool(moving.any()):
            break
        time = torch.where(moving, time + short / slope.clamp_min(1e-30), time)
    return (sign * torch.minimum(time.unsqueeze(1) * rate, room)).view_as(points)


def _length(change: Tensor, norm: Norm) -> Tensor:
    return distance(change, torch.zeros_like(change), norm)
