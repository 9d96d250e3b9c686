"""How long and how fast a stage trains, importable without torch."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from sparrow.settings import Settings


class Progress(float):
    """How far the ramp has come, in [0, 1]; it also knows how many epochs ago it ended."""

    epochs_past_ramp: float
    """Epochs since the ramp's end; 0 before it."""

    def __new__(cls, value: float, epochs_past_ramp: float = 0.0) -> Progress:
        progress = super().__new__(cls, value)
        progress.epochs_past_ramp = epochs_past_ramp
        return progress


def batches(images: int, size: int, normalised: bool) -> list[int]:
    """`images` in batches of `size` and a rest; one image, which batch norm cannot normalise, joins the batch before."""
    whole, rest = divmod(images, size)
    if normalised and rest == 1 and whole:
        return [size] * (whole - 1) + [size + 1]
    return [size] * whole + [rest] * (rest > 0)


class Schedule(Settings):
    """Budget, optimiser and ramp of one stage."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(128, ge=1)
    """Images per step, two or more for networks with batch norm. The last, smaller batch of an epoch is used too; one image
    that batch norm could not normalise by itself joins the batch before."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """SGD with momentum, or Adam."""
    lr: float = Field(0.1, gt=0)
    """Initial learning rate."""
    lr_decay: Literal["cosine", "constant"] = "cosine"
    """Cosine annealing to zero over the stage, step by step, or none."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; Adam ignores it."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: the network computes in it (autocast), images included, which then have eight bits; weights, logits, losses
    and certified bounds stay float32."""
    channels_last: bool = False
    """Lay batches out with their channels together, which convolutions are often faster with; the numbers are the same but
    for rounding."""
    max_grad_norm: float | None = Field(None, gt=0)
    """Clip the gradient to this L2 norm; no clipping if null."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs before the ramp starts, at progress 0 (certified objectives: benign training)."""
    ramp_epochs: float = Field(0.0, ge=0)
    """Epochs over which an objective's schedules (eps, mixing weights) run from their start to their end."""
    cycles: int = Field(1, ge=1)
    """Learning rate, momentum, warm-up and ramp begin anew so many times, after equal numbers of epochs."""

    @model_validator(mode="after")
    def _ramp_ends(self) -> Schedule:
        if self.epochs % self.cycles:
            raise ValueError(f"cycles is {self.cycles}, must divide epochs ({self.epochs})")
        if self.warmup_epochs + self.ramp_epochs > self.epochs_per_cycle:
            total, what = self.warmup_epochs + self.ramp_epochs, "epochs" if self.cycles == 1 else "the epochs of a cycle"
            raise ValueError(f"warmup_epochs + ramp_epochs is {total:g}, must be at most {what} ({self.epochs_per_cycle})")
        return self

    @property
    def epochs_per_cycle(self) -> int:
        """Epochs after which a cycle ends; all, if there is one."""
        return self.epochs // self.cycles

    def batches(self, images: int, normalised: bool) -> list[int]:
        """How many images are in each batch of an epoch of so many; `normalised` says whether the network has batch norm."""
        return batches(images, self.batch_size, normalised)

    def progress(self, epoch: float, ended: bool = False) -> Progress:
        """How far the ramp has come, in [0, 1], at a fractional epoch counted from 0.

        Between two cycles that is where the next one begins or, of what has `ended` there, where the last one ends.
        """
        over = (math.ceil(epoch / self.epochs_per_cycle) - 1) if ended else int(epoch // self.epochs_per_cycle)
        epoch -= self.epochs_per_cycle * min(max(over, 0), self.cycles - 1)
        past = max(0.0, epoch - self.warmup_epochs - self.ramp_epochs)
        if self.ramp_epochs == 0:
            return Progress(epoch >= self.warmup_epochs, past)
        return Progress(min(1.0, max(0.0, (epoch - self.warmup_epochs) / self.ramp_epochs)), past)
