"""What analyses read."""

from __future__ import annotations

from typing import Any

from sparrow.files.specs import Entry, Spec
from sparrow.settings import Threat
from sparrow.stages.specs.corruption import Corrupted


class AnalysisSpec(Spec):
    """An analysis, and the seed of its random numbers: that of the networks that it is about, if they have one in common.

    `outputs` says how the logits that it reads were written down, if it reads them.
    """

    analysis: Entry
    seed: int
    outputs: dict[str, Any] | None = None


class NetworksAnalysisSpec(AnalysisSpec):
    """An analysis of a data set, or of networks of an architecture `model`, against the `threat` if it reads that."""

    model: Entry | None = None
    threat: Threat | None = None
    corruptions: Corrupted | None = None
    """The corrupted test images that it reads, if it does."""
