"""The training loop. Pre-training, pruning and fine-tuning differ in what they optimise and in their hooks alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from sparrow import inner
from sparrow.costs import METER
from sparrow.data._store import Part
from sparrow.errors import NetworkError
from sparrow.training.schedule import Schedule

Objective = Callable[[nn.Module, Tensor, Tensor, float], Tensor]  # model, images, labels, progress
CURVE_COLUMNS = ["epoch", "lr", "progress", "train_loss", "validation_loss", "validation_benign", "validation_check"]


@dataclass(frozen=True)
class Step:
    """Where the loop is, for hooks."""

    number: int
    """Steps taken before this one."""
    total: int
    """Steps in all."""
    per_epoch: int
    """Steps in an epoch."""
    again: Callable[[], None]
    """Computes the gradients of this batch anew, at the weights as they are now, against the same perturbations."""


class Hooks:
    """What a stage does between the loop's own steps: nothing, unless it overrides it."""

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """What to minimise; `objective` computes the study's on this batch."""
        return objective()

    def after_backward(self, step: Step) -> None:
        """The gradients are there."""

    def after_step(self, step: Step) -> None:
        """The optimiser has moved."""

    def after_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, counted from 1, is over."""

    def enough(self) -> bool:
        """Whether to stop before the schedule's end."""
        return False


def train(
    model: nn.Module,
    objective: Objective,
    data: dict[str, Part],
    schedule: Schedule,
    optimised: Iterable[Tensor],
    generator: torch.Generator,
    hooks: Hooks | None = None,
    report: Callable[[str], None] = print,
) -> list[tuple]:
    """Minimise `objective` over the tensors in `optimised` for a whole schedule; returns the learning curve, `CURVE_COLUMNS`.

    `data` holds the parts `train` and `validation`, on the model's device; `generator` (on the CPU) orders the batches.
    The validation loss is the objective's own, at the ramp's present state. One line an epoch goes to `report`.
    Raises NetworkError if the loss of an epoch is not finite.
    """
    train_part, validation = data["train"], data["validation"]
    optimised, hooks = list(optimised), hooks or Hooks()
    optimiser = _optimiser(schedule, optimised) if optimised else None
    steps_per_epoch = math.ceil(len(train_part) / schedule.batch_size)
    total_steps = schedule.epochs * steps_per_epoch
    rows, step, started = [], 0, time.perf_counter()
    for epoch in range(schedule.epochs):
        model.train()
        order = torch.randperm(len(train_part), generator=generator).to(train_part.labels.device)
        total = torch.zeros((), device=train_part.labels.device)
        seen = 0
        for batch in order.split(schedule.batch_size):
            lr = _learning_rate(schedule, step / total_steps)
            gradients = partial(
                _gradients,
                model,
                partial(objective, progress=schedule.progress(step / steps_per_epoch)),
                train_part.images[batch],
                train_part.labels[batch],
                optimised,
                hooks,
            )
            with inner.solved_once() as again:
                loss = gradients()
                now = Step(step, total_steps, steps_per_epoch, lambda gradients=gradients, again=again: again(gradients))
                hooks.after_backward(now)
            if optimiser:
                for group in optimiser.param_groups:
                    group["lr"] = lr
                if schedule.max_grad_norm is not None:
                    nn.utils.clip_grad_norm_(optimised, schedule.max_grad_norm)
                optimiser.step()
            hooks.after_step(now)
            total += loss * len(batch)
            seen += len(batch)
            step += 1
            if hooks.enough():
                break
        train_loss = total.item() / seen
        if not math.isfinite(train_loss):
            raise NetworkError(
                f"epoch {epoch + 1}: the training loss is {train_loss}{_culprit(model)}; training diverged, try a smaller lr"
            )
        with METER.watching(model):
            validation_loss, benign, check = _validate(model, objective, validation, schedule, schedule.progress(epoch + 1))
        if not math.isfinite(validation_loss):
            raise NetworkError(
                f"epoch {epoch + 1}: the validation loss is {validation_loss}{_culprit(model)}; "
                "training diverged, try a smaller lr"
            )
        if rows and check is not None and rows[-1][-1] - check > objective.allowed_drop:
            report(f"WARNING: catastrophic overfitting: accuracy under PGD fell from {rows[-1][-1]:.2%} to {check:.2%}")
        rows.append((epoch + 1, lr, float(schedule.progress(epoch + 1)), train_loss, validation_loss, benign, check))
        hooks.after_epoch(epoch + 1)
        left = (time.perf_counter() - started) / (epoch + 1) * (schedule.epochs - epoch - 1)
        report(
            f"epoch {epoch + 1}/{schedule.epochs}  loss {train_loss:.4f}  validation loss {validation_loss:.4f}  "
            f"benign {benign:.2%}  ETA {left:.0f} s"
        )
        if hooks.enough():
            break
    model.eval()
    return rows


def _culprit(model: nn.Module) -> str:
    """The first parameter that is not finite, as part of a sentence."""
    names = (name for name, parameter in model.named_parameters() if not parameter.isfinite().all())
    return "".join(f", and {name} is not finite" for name in list(names)[:1])


def _gradients(
    model: nn.Module, objective: Callable, images: Tensor, labels: Tensor, optimised: list[Tensor], hooks: Hooks
) -> Tensor:
    """Fill the gradients of the model and of `optimised` afresh; returns the loss."""
    for tensor in (*model.parameters(), *optimised):
        tensor.grad = None
    with METER.watching(model):
        loss = hooks.loss(lambda: objective(model, images, labels), images, labels)
        loss.backward()
    return loss.detach()


def _optimiser(schedule: Schedule, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if schedule.optimizer == "adam":
        return torch.optim.Adam(tensors, lr=schedule.lr, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(tensors, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay)


def _learning_rate(schedule: Schedule, done: float) -> float:
    """Learning rate after the share `done` of all steps (cosine: Loshchilov and Hutter, ICLR 2017, eq. 5)."""
    if schedule.lr_decay == "constant":
        return schedule.lr
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * done))


def _validate(
    model: nn.Module, objective: Objective, part: Part, schedule: Schedule, progress: float
) -> tuple[float, float, float | None]:
    """The objective, the benign accuracy and that of the objective's own check, if it has one, on `part`, in eval mode.

    Leaves torch's random state as it was.
    """
    model.eval()
    check = getattr(objective, "check", None)
    loss, correct, passed = 0.0, 0, 0
    with torch.random.fork_rng(devices=[part.labels.device] if part.labels.is_cuda else []):
        torch.manual_seed(0)
        for images, labels in zip(part.images.split(schedule.batch_size), part.labels.split(schedule.batch_size), strict=True):
            loss += objective(model, images, labels, progress).item() * len(labels)
            with torch.no_grad():
                correct += int((model(images).argmax(dim=1) == labels).sum())
            passed += int(check(model, images, labels).sum()) if check else 0
    return loss / len(part), correct / len(part), passed / len(part) if check else None
