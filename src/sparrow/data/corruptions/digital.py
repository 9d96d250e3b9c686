"""Digital ones: contrast, elastic transforms, pixelation and JPEG compression."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 32
"""Of the images that the constants are for."""


def contrast(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c), of whose distance from the mean of image and channel 75 to 15 % are left."""
    left = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    # One after the other: how numpy sums up many images depends on how many there are.
    means = np.stack([image.mean(axis=(0, 1), keepdims=True) for image in images])
    return 255 * ((images - means) * left + means).clip(0, 1)


def elastic_transform(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) after a random affine map and, but at severity 1, random local shifts.

    The affine map shrinks with severity: of all five, the first is the strongest.
    """
    shift, smooth, jump = ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))[
        severity - 1
    ]
    return 255 * np.stack(
        [
            _warped(image, SIZE * shift, SIZE * smooth, SIZE * jump, generator)
            for image, generator in zip(images, generators, strict=True)
        ]
    )


def _warped(image: np.ndarray, shift: float, smooth: float, jump: float, generator: Generator) -> np.ndarray:
    """An image (h, w, c) whose three corners of a square in the middle moved by up to `jump` pixels, and each pixel then by a
    random field of strength `shift`, smoothed by a Gaussian with standard deviation `smooth`."""
    height, width = shape = image.shape[:2]
    centre, side = np.array(shape) // 2, min(shape) // 3
    before = centre + side * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + generator.uniform(-jump, jump, (3, 2))
    # Columns before rows, as in the script; each point of the result is looked up in the image.
    whole = np.column_stack([after, np.ones(3)])
    back = np.linalg.solve(whole, before)[:, ::-1]
    matrix, offset = back[1::-1].T, back[2]
    channels = np.moveaxis(image, -1, 0)
    moved = np.stack([affine_transform(one, matrix, offset, order=1, mode="mirror") for one in channels])
    if shift:
        right, down = (
            shift * gaussian_filter(generator.uniform(-1, 1, shape), smooth, mode="reflect", truncate=3) for _ in range(2)
        )
        rows, columns = np.mgrid[:height, :width]
        places = np.stack([rows + down, columns + right])
        moved = np.stack([map_coordinates(one, places, order=1, mode="reflect") for one in moved])
    return np.moveaxis(moved, 0, -1).clip(0, 1)


def pixelate(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) of images that were 95 to 65 % as large in between."""
    from PIL.Image import Resampling

    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]

    def there_and_back(image: Image) -> Image:
        small = image.resize((int(image.width * share), int(image.height * share)), Resampling.BOX)
        return small.resize(image.size, Resampling.BOX)

    return _by_pillow(images, there_and_back)


def jpeg_compression(images: np.ndarray, severity: int, generators: Sequence[Generator]) -> np.ndarray:
    """Grey levels (n, h, w, c) of images that were stored as JPEG with a quality of 80 to 40."""
    from PIL import Image as pillow

    quality = (80, 65, 58, 50, 40)[severity - 1]

    def there_and_back(image: Image) -> Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return pillow.open(file)

    return _by_pillow(images, there_and_back)


def _by_pillow(images: np.ndarray, change: Callable[[Image], Image]) -> np.ndarray:
    """Grey levels (n, h, w, c) of images, 1 or 3 channels, that Pillow changes one after the other."""
    from PIL import Image as pillow

    levels = np.rint(255 * images).astype(np.uint8)
    given = levels[..., 0] if levels.shape[-1] == 1 else levels
    changed = np.stack([np.asarray(change(pillow.fromarray(one))) for one in given])
    return changed.reshape(images.shape)
