"""Which corruptions of its test images a data set has, for the analyses that ask for corrupted images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sparrow.settings import Settings, unique

Kind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]
Severity = Annotated[int, Field(ge=1, le=5)]


class Corruptions(Settings):
    """The common corruptions of CIFAR-10-C, made here or read from its archive."""

    kinds: Annotated[list[Kind], Field(min_length=1), AfterValidator(unique)] | None = None
    """Kinds of corruptions. If null, all that fit the images: of 28 to 32 pixels all but `frost`, which needs photographs; of
    other sizes noises, contrast and brightness, which know no size; with `file` all fifteen."""
    severities: Annotated[list[Severity], AfterValidator(unique)] = Field([3], min_length=1)
    """Severities from 1 to 5."""
    samples: int | None = Field(None, ge=1)
    """Corrupt this many test images, a fixed seeded subset; all if null."""
    file: str | None = Field(None, min_length=1)
    """The published archive (`CIFAR-10-C.tar`), to take the images from; they are made here if null. A path is relative to the
    working directory."""


NONE_SAID = Corruptions()
