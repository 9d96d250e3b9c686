"""Blurs: out of focus, through frosted glass, moved, and zoomed while the image was taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from scipy.ndimage import correlate, gaussian_filter

from sparrow.data.corruptions.kernels import disk, motion, nearer


def defocus_blur(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c), each the mean over a disk around it; the image is mirrored past its edge."""
    kernel = disk(*((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1])
    # Where all pixels are alike, a rounding error would take a whole level off.
    return 255 * correlate(images, kernel[None, :, :, None], mode="mirror").clip(0, 1) + 1e-9


def glass_blur(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c), blurred, each then taken over by its neighbour, and blurred again.

    The script means to swap two pixels, but copies one: it exchanges two views of the same array. What is published is so.
    """
    sigma, reach, rounds = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    height, width = images.shape[1:3]
    levels = (255 * _softened(images, sigma)).astype(np.uint8)
    places = [(row, column) for row in range(height - reach, reach, -1) for column in range(width - reach, reach, -1)]
    moves = np.stack([generator.integers(-reach, reach, (rounds, len(places), 2)) for generator in generators])
    each = np.arange(len(images))
    for turn in range(rounds):
        for place, (row, column) in enumerate(places):
            right, down = moves[:, turn, place].T
            levels[:, row, column] = levels[each, row + down, column + right]
    return 255 * _softened(levels / 255, sigma).clip(0, 1)


def _softened(images: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest", truncate=4)


def motion_blur(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) of images that moved in a direction of up to 45 degrees from level."""
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    return np.stack(
        [
            motion(255 * image, radius, sigma, generator.uniform(-45, 45))
            for image, generator in zip(images, generators, strict=True)
        ]
    )


def zoom_blur(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, h, c): the mean of the images and of their middles, enlarged by up to 5 to 25 %."""
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    images = images.astype(np.float32)
    total = np.zeros_like(images)
    for factor in factors:
        total += nearer(images, factor).astype(np.float32)
    return 255 * ((images + total) / (len(factors) + 1)).clip(0, 1)
