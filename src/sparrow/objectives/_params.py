"""Settings that several objectives share, importable without torch."""

from __future__ import annotations

from pydantic import Field

from sparrow.settings import Settings


class RobustParams(Settings):
    """What objectives that train against a perturbation have in common."""

    eps: float | None = Field(None, gt=0)
    """Radius to train for, in pixel units; the study's `threat.eps` if null."""


class PGDParams(RobustParams):
    """Settings of the inner maximisation."""

    steps: int = Field(10, ge=1)
    """Gradient steps of the inner maximisation."""
    step_size: float | None = Field(None, gt=0)
    """Length of one step in pixel units; 2.5 * eps / steps if null (Madry et al. 2018)."""

    def resolved_step_size(self, eps: float) -> float:
        return self.step_size if self.step_size is not None else 2.5 * eps / self.steps
