"""A reader of MNIST and of data sets in its format: four compressed files of bytes."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from sparrow.data.download import Downloaded, Remote, fetch
from sparrow.data.source import Images, Source


class Published(Protocol):
    """A data set class of torchvision, which names its files."""

    __name__: str
    mirrors: Sequence[str]
    resources: Sequence[tuple[str, str]]


def load(published: Published, params: Downloaded) -> Source:
    """All images of torchvision's data set `published`, from its files, in the folder where torchvision has them.

    Raises SparrowError, naming the file, if one is not there or not the official one.
    """
    files = [
        Remote(f"{published.__name__}/raw/{name}", md5, tuple(mirror + name for mirror in published.mirrors))
        for name, md5 in published.resources
    ]
    images, labels, test_images, test_labels = map(_read, fetch(files, params))
    return Source(_images(images, labels), _images(test_images, test_labels))


def _images(images: np.ndarray, labels: np.ndarray) -> Images:
    return Images(images[:, None], labels.astype(np.int64))


def _read(path: Path) -> np.ndarray:
    """The array in a file: its fourth byte is the number of axes; their sizes follow, of four bytes each; then the values."""
    content = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(content, ">u4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)
