"""The training loop. Pre-training, pruning and fine-tuning differ in what they optimise and in their hooks alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparrow.costs import METER
from sparrow.data._store import Part
from sparrow.training.schedule import Schedule

Objective = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
CURVE_COLUMNS = ["epoch", "lr", "progress", "train_loss", "validation_loss", "validation_benign"]


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """What a stage does between the loop's own steps."""

    after_backward: Callable[[], None] = _nothing
    after_step: Callable[[], None] = _nothing


def train(
    model: nn.Module,
    objective: Objective,
    data: dict[str, Part],
    schedule: Schedule,
    optimised: Iterable[Tensor],
    generator: torch.Generator,
    hooks: Hooks = Hooks(),
    report: Callable[[str], None] = print,
) -> list[tuple]:
    """Minimise `objective` over the tensors in `optimised` for a whole schedule; returns the learning curve, `CURVE_COLUMNS`.

    `data` holds the parts `train` and `validation`, on the model's device; `generator` (on the CPU) orders the batches.
    The validation loss is the objective's own, at the ramp's present state. One line an epoch goes to `report`.
    """
    train_part, validation = data["train"], data["validation"]
    optimiser = _optimiser(schedule, list(optimised))
    steps_per_epoch = math.ceil(len(train_part) / schedule.batch_size)
    total_steps = schedule.epochs * steps_per_epoch
    rows, step, started = [], 0, time.perf_counter()
    for epoch in range(schedule.epochs):
        model.train()
        order = torch.randperm(len(train_part), generator=generator).to(train_part.labels.device)
        total = torch.zeros((), device=train_part.labels.device)
        for batch in order.split(schedule.batch_size):
            lr = _learning_rate(schedule, step / total_steps)
            for group in optimiser.param_groups:
                group["lr"] = lr
            progress = schedule.progress(step / steps_per_epoch)
            model.zero_grad(set_to_none=True)
            optimiser.zero_grad(set_to_none=True)
            with METER.watching(model):
                loss = objective(model, train_part.images[batch], train_part.labels[batch], progress)
                loss.backward()
            hooks.after_backward()
            if schedule.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], schedule.max_grad_norm)
            optimiser.step()
            hooks.after_step()
            total += loss.detach() * len(batch)
            step += 1
        train_loss = total.item() / len(train_part)
        with METER.watching(model):
            validation_loss, benign = _validate(model, objective, validation, schedule, schedule.progress(epoch + 1))
        rows.append((epoch + 1, lr, schedule.progress(epoch + 1), train_loss, validation_loss, benign))
        left = (time.perf_counter() - started) / (epoch + 1) * (schedule.epochs - epoch - 1)
        report(
            f"epoch {epoch + 1}/{schedule.epochs}  loss {train_loss:.4f}  validation loss {validation_loss:.4f}  "
            f"benign {benign:.2%}  ETA {left:.0f} s"
        )
    model.eval()
    return rows


def _optimiser(schedule: Schedule, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if schedule.optimizer == "adam":
        return torch.optim.Adam(tensors, lr=schedule.lr, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(tensors, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay)


def _learning_rate(schedule: Schedule, done: float) -> float:
    """Learning rate after the share `done` of all steps (cosine: Loshchilov and Hutter, ICLR 2017, eq. 5)."""
    if schedule.lr_decay == "constant":
        return schedule.lr
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * done))


def _validate(model: nn.Module, objective: Objective, part: Part, schedule: Schedule, progress: float) -> tuple[float, float]:
    """The objective and the benign accuracy on `part`, in eval mode. Leaves torch's random state as it was."""
    model.eval()
    loss, correct = 0.0, 0
    with torch.random.fork_rng(devices=[part.labels.device] if part.labels.is_cuda else []):
        torch.manual_seed(0)
        for images, labels in zip(part.images.split(schedule.batch_size), part.labels.split(schedule.batch_size), strict=True):
            loss += objective(model, images, labels, progress).item() * len(labels)
            with torch.no_grad():
                correct += int((model(images).argmax(dim=1) == labels).sum())
    return loss / len(part), correct / len(part)
