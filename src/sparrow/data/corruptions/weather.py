"""Weather: snow, fog, and the brightness of a day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from sparrow.data.corruptions.kernels import motion, nearer

LUMINANCE = np.array([0.299, 0.587, 0.114])


def snow(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, h, c) of whitened images with flakes that fall, and the same flakes upside down."""
    mean, sd, size, least, radius, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    flakes = np.stack([generator.normal(mean, sd, (*images.shape[1:3], 1)) for generator in generators])
    flakes = nearer(flakes, size)
    flakes[flakes < least] = 0
    levels = (255 * flakes.clip(0, 1)).astype(np.uint8).astype(float)
    falling = np.stack(
        [motion(one, radius, sigma, generator.uniform(-135, -45)) for one, generator in zip(levels, generators, strict=True)]
    )
    falling /= 255
    grey = (images * LUMINANCE).sum(axis=-1, keepdims=True) if images.shape[-1] == len(LUMINANCE) else images
    whitened = kept * images + (1 - kept) * np.maximum(images, 1.5 * grey + 0.5)
    return 255 * (whitened + falling + np.rot90(falling, 2, axes=(1, 2))).clip(0, 1)


def fog(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) behind a fractal cloud, as bright at most as before."""
    density, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    size = 1 << (max(images.shape[1:3]) - 1).bit_length()
    clouds = np.stack([plasma(size, decay, generator) for generator in generators])
    clouds = clouds[:, : images.shape[1], : images.shape[2], None]
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    return 255 * ((images + density * clouds) * brightest / (brightest + density)).clip(0, 1)


def plasma(size: int, decay: float, generator: Generator) -> np.ndarray:
    """A fractal landscape (size, size) with heights from 0 to 1, without edges, by the diamond-square algorithm.

    `size` is a power of two. Where points lie twice as dense as before, each new one is the mean of its four neighbours and a
    random number, which is `decay` squared times as small.
    """
    land = np.zeros((size, size))
    step, reach = size, 100.0

    def raised(around: np.ndarray) -> np.ndarray:
        return around / 4 + reach * generator.uniform(-reach, reach, around.shape)

    while step >= 2:
        half = step // 2
        corners = land[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        land[half::step, half::step] = raised(pairs + np.roll(pairs, -1, axis=1))
        centres = land[half::step, half::step]
        above, beside = centres + np.roll(centres, 1, axis=0), centres + np.roll(centres, 1, axis=1)
        land[::step, half::step] = raised(above + corners + np.roll(corners, -1, axis=1))
        land[half::step, ::step] = raised(beside + corners + np.roll(corners, -1, axis=0))
        step, reach = half, reach / decay
    land -= land.min()
    return land / land.max()


def brightness(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) with 5 to 30 % of white added to the value of hue, saturation and value."""
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = images.max(axis=-1, keepdims=True)
    brighter = (value + added).clip(0, 1)
    # Hue and saturation stay, and with them the ratios of the channels; the brightest one is the value itself.
    scaled = images * np.divide(brighter, value, out=np.zeros_like(value), where=value > 0)
    return 255 * np.where(images == value, brighter, scaled)
