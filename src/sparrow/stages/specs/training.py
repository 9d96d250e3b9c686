"""What pre-training and fine-tuning read."""

from __future__ import annotations

from sparrow.data.augmentation import Augmentation
from sparrow.files.specs import Entry
from sparrow.settings import Threat
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.training.additions import Distillation, StabilityLoss
from sparrow.training.schedule import Schedule


class TrainingSpec(CheckpointSpec):
    """A network, what it is trained on and for how long; the threat only of an objective that trains against one."""

    objective: Entry
    schedule: Schedule
    augmentation: Augmentation = Augmentation()
    threat: Threat | None = None
    nrs: StabilityLoss | None = None
    distillation: Distillation | None = None
    """How fine-tuning learns from a teacher, if it does."""
