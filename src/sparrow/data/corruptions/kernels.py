"""What several corruptions share: kernels of blurs, and an image seen from nearer."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.ndimage import correlate, zoom


@cache
def disk(radius: float, sigma: float) -> np.ndarray:
    """A disk's mask (k, k), of sum 1, softened at its edge by a Gaussian of 3 x 3 pixels with standard deviation `sigma`.

    Below a radius of 1 the disk is a single pixel, and what is left is the Gaussian.
    """
    reach = math.ceil(radius) + 1
    places = np.arange(-reach, reach + 1)
    inside = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    bell = np.exp(-(np.arange(-1, 2) ** 2) / (2 * sigma**2))
    return correlate(inside / inside.sum(), np.outer(bell, bell) / bell.sum() ** 2, mode="constant")


def motion(image: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    """Whole grey levels (h, w, c) of an image (h, w, c) that moved to one side while it was taken, as ImageMagick blurs it.

    Of each pixel's `2 * ceil(radius) + 1` neighbours in one direction, the pixel itself among them, a mean with the weights of
    half a Gaussian; past the edge, the edge's pixels go on.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = math.radians(degrees)
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (math.sin(angle), math.cos(angle)))
    height, width = image.shape[:2]
    total = np.zeros(image.shape)
    for weight, rows, columns in zip(weights / weights.sum(), down, right, strict=True):
        moved_rows = (np.arange(height) + rows).clip(0, height - 1)
        moved_columns = (np.arange(width) + columns).clip(0, width - 1)
        total += weight * image[moved_rows][:, moved_columns]
    # ImageMagick has 16 bits of each value, and cuts them to 8.
    return np.rint(257 * total) // 257


def nearer(images: np.ndarray, factor: float) -> np.ndarray:
    """The middle of square images (n, h, h, c), `factor` times as large, cut to their size; in between pixels, linearly."""
    size = images.shape[1]
    first, weights = _between(size, float(factor))
    rows = _mixed(images, first, weights, axis=1)
    return _mixed(rows, first, weights, axis=2)


def _mixed(images: np.ndarray, first: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis, the weighted sum of each pixel `first` and the one behind it."""
    shape = [1] * images.ndim
    shape[axis] = len(first)
    second = np.minimum(first + 1, images.shape[axis] - 1)
    parts = (weights[:, number].reshape(shape) * images.take(index, axis) for number, index in enumerate((first, second)))
    return sum(parts)


@cache
def _between(size: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` pixels of the enlarged middle: the first of the two pixels that it lies between, and both weights.

    They are read from what scipy makes of single pixels, so that rounding at the edge is scipy's.
    """
    middle = math.ceil(size / factor)
    grown = zoom(np.eye(middle), (factor, 1), order=1)
    cut = (len(grown) - size) // 2
    grown = grown[cut : cut + size]
    first = grown.argmax(axis=1)
    # The larger weight may be the second one's.
    before = (first > 0) & (grown[np.arange(size), first - 1] > 0)
    first = first - before
    weights = np.stack([grown[np.arange(size), first], grown[np.arange(size), np.minimum(first + 1, middle - 1)]], axis=1)
    weights[first == middle - 1, 1] = 0
    return first + (size - middle) // 2, weights
