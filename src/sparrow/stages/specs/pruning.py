"""What pruning reads."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sparrow.data.augmentation import Augmentation
from sparrow.files.specs import Entry
from sparrow.settings import Threat
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.training.additions import StabilityLoss
from sparrow.training.schedule import Schedule


class PruneSpec(CheckpointSpec):
    """A network and a method; what it is trained on and for how long only of a method that trains."""

    method: Entry
    ratio: float
    objective: Entry | None = None
    schedule: Schedule | None = None
    augmentation: Augmentation | None = None
    threat: Threat | None = None
    """The threat that the objective trains against; none of a benign one."""
    nrs: StabilityLoss | None = None
    method_threat: Threat | None = None
    """The threat that the method trains against, if it does."""

    @model_validator(mode="after")
    def _trains_on_something(self) -> Self:
        if (self.objective is None) != (self.schedule is None):
            raise ValueError("objective and schedule: one is there without the other; valid: both, or none")
        return self
