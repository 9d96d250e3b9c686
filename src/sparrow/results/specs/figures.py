"""What drawing a figure reads besides its sources."""

from __future__ import annotations

from typing import Any, Literal

from sparrow.files.specs import Spec
from sparrow.settings import Threat


class PanelsSpec(Spec):
    """A data set, a model, and the objectives that it is trained on: a column of panels each."""

    dataset: str
    model: str
    objectives: list[str]
    stage: Literal["pruned", "finetuned", "grafted"]
    """At which pruned networks are shown."""


class RunsFigureSpec(PanelsSpec):
    """A figure drawn from files of single runs."""

    runs: list[dict[str, Any]]
    """Identities (values of `paths.IDENTITY` by name) of the runs, one of each file and in the same order."""


class FigureSpec(PanelsSpec):
    """A figure drawn from tables."""

    threats: dict[str, Threat]
    """By objective."""


class MeasuredFigureSpec(FigureSpec):
    """A figure that tells metrics without a result from those that are not measured."""

    measured: dict[str, list[str]]
    """Which of era and vra each objective's networks have."""
