"""What rounding a network's weights reads."""

from __future__ import annotations

from sparrow.data.augmentation import Augmentation
from sparrow.files.specs import Entry
from sparrow.settings import Threat
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.training.additions import StabilityLoss
from sparrow.training.schedule import Schedule


class QuantiseSpec(CheckpointSpec):
    """A network and a number of bits; what it is trained on and for how long only where it trains under rounding."""

    stage: str
    """That of the variant, such as `finetuned+int8`."""
    bits: int
    objective: Entry | None = None
    schedule: Schedule | None = None
    augmentation: Augmentation | None = None
    threat: Threat | None = None
    """The threat that the objective trains against; none of a benign one."""
    nrs: StabilityLoss | None = None
