"""The training loop. Pre-training, pruning and fine-tuning differ in what they optimise and in their hooks alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparrow.data.store import Part
from sparrow.errors import NetworkError
from sparrow.jobs.costs import METER
from sparrow.jobs.resume_point import ResumePoint, randomness
from sparrow.networks.prunable import norm_layers
from sparrow.training import inner_replay
from sparrow.training.loss import CheckedLoss, Loss
from sparrow.training.position import LoopPosition, TrainingState
from sparrow.training.schedule import Schedule


class CurveRow(NamedTuple):
    """The learning curve's row of one epoch, after its validation."""

    epoch: int
    """Counted from 1."""
    lr: float
    """Learning rate of its last step."""
    progress: float
    """How far the ramp has come at its end, in [0, 1]."""
    train_loss: float
    validation_loss: float
    validation_benign: float
    """Benign accuracy, in [0, 1]."""
    validation_check: float | None
    """Share of the images that pass the objective's check, in [0, 1]; None for an objective without."""


CURVE_COLUMNS = list(CurveRow._fields)


class OwnRate(NamedTuple):
    """Tensors that learn at a rate of their own, and without weight decay."""

    tensors: list[Tensor]
    lr: float
    """Their initial learning rate; it decays as the schedule's does."""


@dataclass(frozen=True)
class Step:
    """One optimisation step, as hooks see it."""

    number: int
    """Steps taken before this one."""
    total: int
    """Steps of the whole schedule."""
    per_epoch: int
    """Steps of an epoch."""
    per_cycle: int
    """Steps of a cycle of the schedule: of the whole one, if it has no more than one."""
    lr: float
    """Its learning rate."""
    again: Callable[[], Any]
    """Computes the gradients of this batch's loss once more, at the weights as they are now and on the same perturbed images.
    Raises SparrowError for an objective whose perturbed images cannot be had again (see `inner_replay.record`)."""

    @property
    def cycle(self) -> int:
        """Cycles of the schedule that were over before this step."""
        return self.number // self.per_cycle

    @property
    def ends_epoch(self) -> bool:
        """Whether it is the last of an epoch."""
        return (self.number + 1) % self.per_epoch == 0

    @property
    def ends_cycle(self) -> bool:
        """Whether it is the last of a cycle."""
        return (self.number + 1) % self.per_cycle == 0


class Hooks:
    """What a stage does between the loop's own steps: nothing, unless it overrides a method."""

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise on this batch; `objective()` is the study's."""
        return objective()

    def after_backward(self, step: Step) -> None:
        """Called when the loss's gradients are in place, before the optimiser's step."""

    def after_step(self, step: Step) -> None:
        """Called after the optimiser's step."""

    def after_epoch(self, row: CurveRow) -> None:
        """Called after an epoch has been validated, with its row of the learning curve."""

    def finished(self) -> bool:
        """Whether training ends here; asked after `after_epoch`."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """The hooks' state for a resume point, by reference; of what `sparrow.jobs.packing` can write down."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave; tensors have been put back in place where they were still there."""


def train(
    model: nn.Module,
    objective: Loss,
    data: dict[str, Part],
    schedule: Schedule,
    optimised: Iterable[Tensor],
    generator: torch.Generator,
    hooks: Hooks | None = None,
    report: Callable[[str], None] = print,
    resume: ResumePoint | None = None,
    steps_of: Callable[[int, int], int] | None = None,
    perturbs: bool = False,
    name: str = "objective",
    own_rate: OwnRate | None = None,
) -> list[tuple]:
    """Minimise `objective` over the tensors in `optimised`; returns the learning curve, one row (`CURVE_COLUMNS`) an epoch.

    `data` holds the parts `train` and `validation`, on the model's device; `generator` (on the CPU) orders the batches.
    The validation loss is the objective's own, at the ramp's present state. One line an epoch goes to `report`.
    Training takes the steps of the whole schedule, or `steps_of(those, steps of an epoch)`; an epoch cut short is validated.
    It ends earlier, after an epoch, if the hooks say that it is `finished`.
    `perturbs` says that `objective` perturbs images once the ramp has begun, which `Step.again` then insists on; its errors
    begin with `name`. `own_rate` says which of `optimised` learn at another rate.
    With `resume`, training goes on from that point if it is there, and is saved to it between steps.
    Raises NetworkError if the loss of an epoch, or a tensor, is not finite, or if a batch norm would see single images;
    Interrupted, after saving, at SIGTERM.
    """
    train_part, validation = data["train"], data["validation"]
    optimised, hooks = list(optimised), hooks or Hooks()
    optimiser = _optimiser(schedule, optimised, own_rate) if optimised else None
    rates = [1.0, *([own_rate.lr / schedule.lr] if own_rate else [])]
    sizes = _batches(train_part, schedule, model)
    steps_per_epoch = len(sizes)
    total_steps = schedule.epochs * steps_per_epoch
    steps_per_cycle = schedule.epochs_per_cycle * steps_per_epoch
    last = steps_of(total_steps, steps_per_epoch) if steps_of else total_steps
    place, started = LoopPosition(), time.perf_counter()
    state = TrainingState(model, optimised, optimiser, generator, hooks, place)
    saved = resume.load() if resume else None
    if saved:
        state.restore(saved)
    first = place.step

    def train_epoch() -> float:
        """The mean loss of the images of one epoch, or of what is left of it."""
        model.train()
        if place.order is None:
            place.order = train_part.order(generator)
            place.batches, place.seen = 0, 0
            place.total = torch.zeros((), device=train_part.labels.device)
        batches = place.order.to(train_part.labels.device).split(sizes)
        total = place.total
        assert total is not None  # It is made with the order.
        for batch in batches[place.batches :]:
            if place.step >= last:
                break
            in_cycle = place.step % steps_per_cycle
            if optimiser and place.step and not in_cycle:
                optimiser.state.clear()
            place.lr = _learning_rate(schedule, in_cycle / steps_per_cycle)
            progress = schedule.progress(place.step / steps_per_epoch)
            gradients: Callable[[], Tensor] = partial(
                _gradients,
                model,
                partial(objective, progress=progress),
                _laid_out(train_part.drawn(batch), schedule),
                train_part.labels[batch],
                optimised,
                hooks,
                schedule,
            )
            with inner_replay.record(perturbs and progress > 0, name) as replay:
                loss = gradients()
                now = Step(place.step, total_steps, steps_per_epoch, steps_per_cycle, place.lr, partial(replay, gradients))
                hooks.after_backward(now)
            if optimiser:
                for group, rate in zip(optimiser.param_groups, rates, strict=True):
                    group["lr"] = place.lr * rate
                if schedule.max_grad_norm is not None:
                    nn.utils.clip_grad_norm_(optimised, schedule.max_grad_norm)
                optimiser.step()
            hooks.after_step(now)
            total += loss * len(batch)
            place.seen += len(batch)
            place.batches, place.step = place.batches + 1, place.step + 1
            if resume:
                resume.save_if_due(state.pack)
        return total.item() / place.seen

    while place.epoch < schedule.epochs and (place.step < last or place.order is not None):
        epoch, train_loss = place.epoch, train_epoch()
        if not math.isfinite(train_loss):
            raise NetworkError(
                f"epoch {epoch + 1}: the training loss is {train_loss}{_culprit(model)}; training diverged, try a smaller lr"
            )
        if not all(bool(tensor.isfinite().all()) for tensor in optimised):
            # A method's own tensors may be lost while the network still gives numbers.
            raise NetworkError(f"epoch {epoch + 1}: what is learned is not finite; training diverged, try a smaller lr")
        # Validation takes no part in what is to come: where it is cut short, it is done again.
        then = partial(state.pack, randomness(generator))
        stop = partial(resume.save_if_due, then, METER.so_far()) if resume else _do_nothing
        with METER.watching(model):
            validation_loss, benign, check = _validate(
                model, objective, validation, schedule, schedule.progress(epoch + 1, ended=True), stop
            )
        if not math.isfinite(validation_loss):
            raise NetworkError(
                f"epoch {epoch + 1}: the validation loss is {validation_loss}{_culprit(model)}; "
                "training diverged, try a smaller lr"
            )
        before = place.rows[-1][-1] if epoch % schedule.epochs_per_cycle else None
        if (
            isinstance(objective, CheckedLoss)
            and before is not None
            and check is not None
            and before - check > objective.allowed_drop
        ):
            report(f"WARNING: catastrophic overfitting: accuracy under PGD fell from {before:.2%} to {check:.2%}")
        progress = float(schedule.progress(epoch + 1, ended=True))
        row = CurveRow(epoch + 1, place.lr, progress, train_loss, validation_loss, benign, check)
        place.rows.append(tuple(row))
        hooks.after_epoch(row)
        place.epoch, place.order = epoch + 1, None
        left = (time.perf_counter() - started) / max(place.step - first, 1) * (last - place.step)
        report(
            f"epoch {epoch + 1}/{schedule.epochs}  loss {train_loss:.4f}  validation loss {validation_loss:.4f}  "
            f"benign {benign:.2%}  ETA {left:.0f} s"
        )
        if hooks.finished() and place.step < last:
            report(f"training ends after epoch {epoch + 1}: what was looked for is found")
            break
    model.eval()
    return place.rows


def _do_nothing() -> None:
    """What there is to do between the batches of a validation that cannot be resumed."""


def _batches(part: Part, schedule: Schedule, model: nn.Module) -> list[int]:
    normalised = bool(norm_layers(model))
    sizes = schedule.batches(part.epoch, normalised)
    if normalised and 1 in sizes:
        raise NetworkError(
            f"its batch norm needs two images in every batch, and {part.epoch} in batches of {schedule.batch_size} leave one "
            "alone; valid: a batch_size of 2 or more, and two training images"
        )
    return sizes


def _culprit(model: nn.Module) -> str:
    """The first parameter that is not finite, as part of a sentence."""
    names = (name for name, parameter in model.named_parameters() if not parameter.isfinite().all())
    return "".join(f", and {name} is not finite" for name in list(names)[:1])


def _gradients(
    model: nn.Module,
    objective: Callable[[nn.Module, Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    optimised: list[Tensor],
    hooks: Hooks,
    schedule: Schedule,
) -> Tensor:
    """The loss, a detached scalar; its gradients replace those of the model's parameters and of `optimised`."""
    for tensor in (*model.parameters(), *optimised):
        tensor.grad = None
    with METER.watching(model), inner_replay.watched(model):
        with _precision(schedule, model, images):
            loss = hooks.loss(lambda: objective(model, images, labels), images, labels)
        # Where nothing is learned, there may be nothing to differentiate: a method may use activations alone.
        if optimised or loss.requires_grad:
            loss.backward()
    return loss.detach()


@contextmanager
def _precision(schedule: Schedule, model: nn.Module, images: Tensor) -> Iterator[None]:
    """The context in which a network computes as `schedule` says; its logits are float32 always.

    On a CPU, autocast would leave what a loss makes of them in bfloat16, too.
    """
    if schedule.precision == "float32":
        yield
        return
    hook = model.register_forward_hook(lambda module, inputs, output: output.float())
    try:
        with torch.autocast(images.device.type, torch.bfloat16):
            yield
    finally:
        hook.remove()


def _laid_out(images: Tensor, schedule: Schedule) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if schedule.channels_last else images


def _optimiser(schedule: Schedule, tensors: list[Tensor], own_rate: OwnRate | None) -> torch.optim.Optimizer:
    groups: list[Any] = tensors
    if own_rate:
        apart = {id(tensor) for tensor in own_rate.tensors}
        shared = [tensor for tensor in tensors if id(tensor) not in apart]
        groups = [{"params": shared}, {"params": own_rate.tensors, "lr": own_rate.lr, "weight_decay": 0.0}]
    if schedule.optimizer == "adam":
        return torch.optim.Adam(groups, lr=schedule.lr, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay)


def _learning_rate(schedule: Schedule, done: float) -> float:
    """Learning rate after the share `done` of a cycle's steps (cosine: Loshchilov and Hutter, ICLR 2017, eq. 5)."""
    if schedule.lr_decay == "constant":
        return schedule.lr
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * done))


def _validate(
    model: nn.Module,
    objective: Loss,
    part: Part,
    schedule: Schedule,
    progress: float,
    stop: Callable[[], None],
) -> tuple[float, float, float | None]:
    """The objective's mean, the benign accuracy and the share that passes the objective's check (None without), on `part`.

    The network is in eval mode from then on; torch's random state stays as it was. Calls `stop` after each batch.
    """
    model.eval()
    check = objective.check if isinstance(objective, CheckedLoss) else None
    loss, correct, passed = 0.0, 0, 0
    with torch.random.fork_rng(devices=[part.labels.device] if part.labels.is_cuda else []):
        torch.manual_seed(0)
        for images, labels in part.batches(schedule.batch_size):
            images = _laid_out(images, schedule)
            with _precision(schedule, model, images):
                loss += objective(model, images, labels, progress).item() * len(labels)
            with torch.no_grad(), _precision(schedule, model, images):
                correct += int((model(images).argmax(dim=1) == labels).sum())
            passed += int(check(model, images, labels).sum()) if check else 0
            stop()
    return loss / len(part), correct / len(part), passed / len(part) if check else None
