"""Settings that several objectives share, importable without torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Radius, Settings


class Objective(Settings):
    """What an objective declares about itself."""

    float32_only: ClassVar[str | None] = None
    """Why it cannot be trained in bfloat16, as the end of a sentence; None if it can."""

    @property
    def perturbs(self) -> bool:
        """Whether its loss is of images that it perturbs by `sparrow.training.inner_replay.solve`, wherever the ramp has begun.

        `perturbs: ClassVar[bool] = True`, where that does not depend on the parameters.
        """
        return False


class RobustParams(Objective):
    """What objectives that train against a perturbation have in common."""

    eps: Radius | None = None
    """Radius to train for, in pixel units; the threat's if null."""


class IBPInitialisation(RobustParams):
    """What objectives that train on interval bounds have in common."""

    initialisation: Literal["default", "ibp"] = "default"
    """Weights before pre-training: the network's own, or `N(0, 2 pi / fan_in^2)` in all layers but the last, halved behind
    residual additions (Shi et al., "Fast Certified Robust Training with Short Warmup", NeurIPS 2021). Then a layer and its
    ReLU keep the mean width of intervals; behind batch norm they do not: it scales such small weights' outputs up."""

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        """Draw the weights anew, in place, if asked to."""
        from sparrow.training import certified_initialisation

        if self.initialisation == "ibp":
            certified_initialisation.ibp(model, generator)


class PGDParams(RobustParams):
    """Settings of the inner maximisation."""

    perturbs: ClassVar[bool] = True
    steps: int = Field(10, ge=1)
    """Gradient steps of the inner maximisation."""
    step_size: Radius | None = None
    """Length of one step in pixel units; 2.5 * eps / steps if null (Madry et al. 2018)."""

    def resolved_step_size(self, eps: float) -> float:
        """Length of one step in pixel units, for a radius of `eps`."""
        return self.step_size if self.step_size is not None else 2.5 * eps / self.steps
