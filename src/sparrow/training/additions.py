"""What a study may add to what a stage minimises, whatever the objective and the method. Imports no torch."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import ClassVar, Literal

from pydantic import Field

from sparrow.settings import Settings


class Addition(Settings):
    """Settings of an addition; what computes it is imported where it is on, and is part of a job's code there alone."""

    module: ClassVar[str]
    """Full name of the module that computes it, whose docstring has its source."""

    def load(self) -> ModuleType:
        """That module."""
        return importlib.import_module(self.module)


class Distillation(Addition):
    """Adversarially robust distillation: perturbed images are to get the logits that a teacher gives clean ones."""

    module: ClassVar[str] = "sparrow.training.distillation"
    steps: ClassVar[int] = 10
    """Gradient steps of the attack for objectives that have none."""
    teacher: Literal["dense"] = "dense"
    """The dense network of the same data set, model, objective and seed."""
    alpha: float = Field(1.0, ge=0, le=1)
    """Weight of the divergence from the teacher; 1 - alpha is that of the cross-entropy on clean images."""
    temperature: float = Field(30.0, gt=0)
    """Divides both networks' logits before the softmax."""


class StabilityLoss(Addition):
    """A penalty for ReLUs whose input may have either sign, as far as interval bounds at the training radius can tell."""

    module: ClassVar[str] = "sparrow.training.relu_stability"
    weight: float = Field(0.01, gt=0)
    """Weight of the penalty, which lies between -1 and 1, beside the objective's loss."""
    gamma_power: float = Field(2.0, ge=0)
    """Power of the batch norm's scale before a ReLU by which the product of its input's bounds is divided."""
