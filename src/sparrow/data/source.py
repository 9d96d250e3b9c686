"""The types that the module of a data set returns: Description, and Source with its Images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Description(NamedTuple):
    """Shape and number of classes of a data set's images, known before they are read."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    classes: int


class Images(NamedTuple):
    """Images (n, channels, height, width), uint8, and their labels (n,), int64."""

    images: np.ndarray
    labels: np.ndarray


class Source(NamedTuple):
    """A data set as published: its training images, its official test images (None if it has none), and the value of white."""

    train: Images
    test: Images | None = None
    white: int = 255
    names: tuple[str, ...] = ()
    """The classes' names, by number, if the data set is made of named folders."""
