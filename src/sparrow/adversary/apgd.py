"""Auto-PGD: projected gradient ascent that halves its steps where the loss stops rising, and continues from the best point.

An image is removed from the search as soon as it is misclassified, with all its copies on the way to other targets.

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020, algorithm 1 and sec. 3; the step sizes are set anew at the iterations of the authors' code
(fra31/auto-attack), which for 100 iterations are the paper's w_j. Whether the first step has raised the loss is judged
against the start's, as in the paper; there, against 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparrow.adversary.batches import Loss, losses_and_gradients
from sparrow.adversary.geometry import direction, project
from sparrow.adversary.margin import margin
from sparrow.adversary.record import Record
from sparrow.adversary.search import confirmed
from sparrow.adversary.survivors import Survivors
from sparrow.settings import Threat

MOMENTUM = 0.75  # alpha in eq. 1
RHO = 0.75


@dataclass
class _Ascent(Survivors):
    """The state of each ascent: points and gradients (rows, c, h, w), step sizes (rows, 1, 1, 1), all others (rows,)."""

    centre: Tensor
    """The images."""
    point: Tensor
    """The current points."""
    loss: Tensor
    gradient: Tensor
    before: Tensor
    """The point of the iteration before."""
    size: Tensor
    """Step sizes."""
    best: Tensor
    """The point of the largest loss so far."""
    best_gradient: Tensor
    best_loss: Tensor
    loss_at_check: Tensor
    """The largest loss when the step size was checked last."""
    rises: Tensor
    """Iterations since that check that have raised the loss."""
    halved: Tensor
    """Whether that check has halved the step size."""


def cross_entropy(labels: Tensor) -> Loss:
    """The cross-entropy of each image with its label in `labels` (n,)."""
    return lambda logits, places: nn.functional.cross_entropy(logits, labels[places], reduction="none")


def targeted_dlr(labels: Tensor, targets: Tensor) -> Loss:
    """The difference of logits ratio, eq. 7, of each image towards its class in `targets` (n,), or of its copies towards theirs
    (n, copies)."""
    goals = targets.view(len(labels), -1).T.flatten()
    labels = labels.repeat(len(goals) // max(len(labels), 1))

    def loss(logits: Tensor, places: Tensor) -> Tensor:
        ordered = logits.sort(dim=1, descending=True).values
        own, other = (logits.gather(1, of[places, None]).squeeze(1) for of in (labels, goals))
        return (other - own) / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + 1e-12)

    return loss


def apgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Loss,
    threat: Threat,
    steps: int,
    generator: torch.Generator,
    record: Record | None = None,
    copies: int = 1,
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are misclassified within `threat`, and these adversarial images (n, c, h, w), `images` elsewhere.

    With `copies` of each image, `loss` tells them apart by their places: the first of all images, then the second of all, and
    so on, each with a start of its own. Of copies that are misclassified at the same step the first counts. `record`, if given,
    notes the points of smallest margin and the gradients at the start.
    """
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    view = (-1, *[1] * (images.dim() - 1))
    images, labels = images.repeat(copies, *view[1:]), labels.repeat(copies)
    start = _start(images, threat, generator)
    output, losses, gradient = losses_and_gradients(model, start, loss, torch.arange(len(images), device=images.device))
    if record is not None:
        record.note_start(gradient)
    now = _Ascent(
        labels=labels,
        copies=copies,
        centre=images,
        point=start,
        loss=losses,
        gradient=gradient,
        before=start,
        size=torch.full_like(losses, 2 * threat.eps).view(view),
        best=start,
        best_gradient=gradient,
        best_loss=losses,
        loss_at_check=losses,
        rises=torch.zeros_like(losses),
        halved=torch.ones_like(losses, dtype=torch.bool),
    )

    def remove_misclassified(output: Tensor) -> None:
        if record is not None:
            record.note(now.images, now.point, margin(output, now.labels))
        wrong = confirmed(model, now.point, now.labels, output.argmax(dim=1) != now.labels)
        if bool(wrong.any()):
            gone, rows = now.first_rows(wrong)
            broken[now.images[gone]], result[now.images[gone]] = True, now.point[rows]
            now.keep(~wrong.view(copies, -1).any(dim=0))

    remove_misclassified(output)
    period, since = max(int(0.22 * steps), 1), 0
    for step in range(steps):
        if not len(now):
            break
        ahead = project(now.point + now.size * direction(now.gradient, threat), now.centre, threat)
        alpha = MOMENTUM if step else 1.0
        moved = now.point + alpha * (ahead - now.point) + (1 - alpha) * (now.point - now.before)
        now.before, now.point = now.point, project(moved, now.centre, threat)
        output, losses, now.gradient = losses_and_gradients(model, now.point, loss, now.places)
        now.rises, now.loss = now.rises + (losses > now.loss), losses
        better = losses > now.best_loss
        now.best = torch.where(better.view(view), now.point, now.best)
        now.best_gradient = torch.where(better.view(view), now.gradient, now.best_gradient)
        now.best_loss = torch.maximum(losses, now.best_loss)
        remove_misclassified(output)
        since += 1
        if since == period:
            # The loss has risen too seldom; or it has gained nothing since the last check, which left the step as it was.
            stuck = (now.rises <= RHO * period) | (~now.halved & (now.loss_at_check >= now.best_loss))
            now.size = torch.where(stuck.view(view), now.size / 2, now.size)
            now.point = torch.where(stuck.view(view), now.best, now.point)
            now.gradient = torch.where(stuck.view(view), now.best_gradient, now.gradient)
            now.halved, now.loss_at_check, now.rises = stuck, now.best_loss, torch.zeros_like(now.rises)
            period, since = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)), 0
    return broken, result


def _start(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """A random point on the sphere of `threat.eps` around each image, inside [0, 1]."""
    if threat.norm == "linf":
        noise = 2 * torch.rand(images.shape, generator=generator).to(images) - 1
        length = noise.flatten(1).abs().amax(dim=1)
    else:
        noise = torch.randn(images.shape, generator=generator).to(images)
        length = noise.flatten(1).norm(dim=1)
    return (images + threat.eps * noise / length.clamp_min(1e-12).view(-1, *[1] * (images.dim() - 1))).clamp(0, 1)
