"""What grafting reads."""

from __future__ import annotations

from sparrow.settings import Threat
from sparrow.stages.specs.training import TrainingSpec


class GraftSpec(TrainingSpec):
    """Which neurons become lines, with which numbers they begin, and how the network is trained after that."""

    share: float
    slope: float
    intercept: float
    images: int
    lr_lines: float
    memory_mb: int | None
    bounded: Threat
    """The threat against which neurons are unstable."""
