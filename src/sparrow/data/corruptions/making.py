"""Corrupted images, made here: each with random numbers of its own, so that it is the same alone and among others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from sparrow.data.corruptions import blur, digital, noise, weather
from sparrow.files.corruption_kinds import KINDS

Corruption = Callable[[np.ndarray, int, Sequence[Generator]], np.ndarray]

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
TOGETHER = 500
"""Images that are in memory as floats at a time."""


def corrupted(pixels: np.ndarray, white: int, indices: Sequence[int], kind: str, severity: int) -> np.ndarray:
    """Images (n, c, h, w), uint8 from 0 to 255, of `pixels` (n, c, h, w) from 0 to `white` under a corruption.

    `indices` (n,) say which images of their data set they are: with the kind and the severity, these are their random seeds.
    """
    make, parts = CORRUPTIONS[kind], []
    for start in range(0, len(pixels), TOGETHER):
        images = np.moveaxis(pixels[start : start + TOGETHER], 1, -1) / white
        own = indices[start : start + TOGETHER]
        generators = [np.random.default_rng([KINDS.index(kind), severity, int(index)]) for index in own]
        # Cut to whole levels, not rounded, as in the script.
        parts.append(np.moveaxis(make(images, severity, generators).astype(np.uint8), -1, 1))
    return np.concatenate(parts)
