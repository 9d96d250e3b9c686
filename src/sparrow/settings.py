"""The base of every piece of configuration, importable without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Norm = Literal["linf", "l2"]


class Settings(BaseModel):
    """Immutable, refuses unknown keys; a field's docstring is its description in the schema and in the README."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Threat(Settings):
    """What the adversary may do: move an image by at most `eps` in `norm`, inside [0, 1]."""

    norm: Norm = "linf"
    """Norm of the perturbation."""
    eps: float = Field(gt=0)
    """Radius of the perturbation in pixel units, images in [0, 1] (8/255 is 0.03137)."""


class Evaluation(Settings):
    """What attacks and verifiers have in common."""

    samples: int | None = Field(None, ge=1)
    """Evaluate on this many test images, a fixed seeded subset (smaller ones are part of larger ones); on all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""
