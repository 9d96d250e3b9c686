"""Auto-PGD: projected gradient ascent that halves its steps where they no longer pay, and goes on from the best point.

An image leaves as soon as it is misclassified.

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020, algorithm 1 and sec. 3; the step sizes are set anew at the iterations of the authors' code
(fra31/auto-attack), which for 100 iterations are the paper's w_j. Whether the first step has raised the loss is judged
against the start's, as in the paper; there, against 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import direction, project
from sparrow.adversary.record import Record
from sparrow.adversary.search import confirmed
from sparrow.adversary.survivors import Loss, Standing, ascent
from sparrow.settings import Threat

MOMENTUM = 0.75  # alpha in eq. 1
RHO = 0.75


def cross_entropy(labels: Tensor) -> Loss:
    """The loss of images with these labels (n,)."""
    return lambda logits, places: nn.functional.cross_entropy(logits, labels[places], reduction="none")


def targeted_dlr(labels: Tensor, targets: Tensor) -> Loss:
    """Difference of logits ratio towards `targets` (n,), eq. 7."""

    def loss(logits: Tensor, places: Tensor) -> Tensor:
        ordered = logits.sort(dim=1, descending=True).values
        own, other = (logits.gather(1, of[places, None]).squeeze(1) for of in (labels, targets))
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
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are broken, and what all of them have become (n, c, h, w): `images` where they are not."""
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    view = (-1, *[1] * (images.dim() - 1))
    now = Standing(centre=images, labels=labels, point=_start(images, threat, generator))
    output, now.loss, now.gradient = ascent(model, now.point, loss, now.places)
    if record is not None:
        record.starts(now.gradient)

    def fell(output: Tensor) -> None:
        if record is not None:
            record.sees_logits(now.places, now.point, output, now.labels)
        wrong = confirmed(model, now.point, now.labels, output.argmax(dim=1) != now.labels)
        broken[now.places[wrong]], result[now.places[wrong]] = True, now.point[wrong]
        now.keep(~wrong)

    now.before, now.size = now.point, torch.full_like(now.loss, 2 * threat.eps).view(view)
    now.best, now.best_gradient, now.best_loss, now.loss_at_check = now.point, now.gradient, now.loss, now.loss
    now.rises, now.halved = torch.zeros_like(now.loss), torch.ones_like(now.loss, dtype=torch.bool)
    fell(output)
    period, since = max(int(0.22 * steps), 1), 0
    for step in range(steps):
        if not len(now):
            break
        ahead = project(now.point + now.size * direction(now.gradient, threat), now.centre, threat)
        alpha = MOMENTUM if step else 1.0
        moved = now.point + alpha * (ahead - now.point) + (1 - alpha) * (now.point - now.before)
        now.before, now.point = now.point, project(moved, now.centre, threat)
        output, losses, now.gradient = ascent(model, now.point, loss, now.places)
        now.rises, now.loss = now.rises + (losses > now.loss), losses
        better = losses > now.best_loss
        now.best = torch.where(better.view(view), now.point, now.best)
        now.best_gradient = torch.where(better.view(view), now.gradient, now.best_gradient)
        now.best_loss = torch.maximum(losses, now.best_loss)
        fell(output)
        since += 1
        if since == period:
            # Too seldom has the loss risen; or nothing was gained since the last time, and the step is still as it was.
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
