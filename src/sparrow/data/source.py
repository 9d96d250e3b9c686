"""What a data set's file tells of its images, and what it returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Description(NamedTuple):
    """What is known of images before they are read."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    classes: int


class Images(NamedTuple):
    """Images (n, channels, height, width), uint8, and their labels (n,), int64."""

    images: np.ndarray
    labels: np.ndarray


class Source(NamedTuple):
    """A data set as it comes: its training images, its official test images if it has such, and the value of white."""

    train: Images
    test: Images | None = None
    white: int = 255
    names: tuple[str, ...] = ()
    """What the classes are called, by number, if the data set is made of named folders."""
