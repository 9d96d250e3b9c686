"""What drawing the initial weights of a network reads."""

from __future__ import annotations

from sparrow.files.specs import Entry
from sparrow.stages.specs.base import CheckpointSpec


class InitialSpec(CheckpointSpec):
    """A network, the images that it takes, and the objective if that draws its weights: nothing of any schedule."""

    shape: tuple[int, int, int]
    """Of its images: channels, height, width."""
    classes: int
    initialisation: Entry | None = None
    """An objective that has `initialise`, with those of its parameters that have a share in it."""
