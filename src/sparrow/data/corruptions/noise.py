"""Noise in each channel value by itself: Gaussian, shot and impulse noise. None of them knows the size of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator


def gaussian_noise(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) with a normal number added, whose standard deviation is 0.04 to 0.10 of white."""
    scale = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    noise = np.stack([generator.normal(scale=scale, size=images.shape[1:]) for generator in generators])
    return 255 * (images + noise).clip(0, 1)


def shot_noise(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) as counts of photons, of which white has 500 to 50 on average."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    counts = np.stack([generator.poisson(photons * image) for image, generator in zip(images, generators, strict=True)])
    return 255 * (counts / photons).clip(0, 1)


def impulse_noise(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) of which 1 to 7 % are black or white instead, either as often as the other."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    hit, side = np.stack([generator.random((2, *images.shape[1:])) for generator in generators], axis=1)
    return 255 * np.where(hit <= share, side <= 0.5, images)
