"""MNIST and what is published in its form: four compressed files of bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from sparrow.data.download import Downloaded, Remote, fetched
from sparrow.data.source import Images, Source


def load(published: type, params: Downloaded) -> Source:
    """All images of what torchvision's data set `published` names the files of, which lie where it looks for them.

    Raises SparrowError, naming the file, if one is not there or not the official one.
    """
    files = [
        Remote(f"{published.__name__}/raw/{name}", md5, tuple(mirror + name for mirror in published.mirrors))
        for name, md5 in published.resources
    ]
    images, labels, test_images, test_labels = map(_read, fetched(files, params))
    return Source(_images(images, labels), _images(test_images, test_labels))


def _images(images: np.ndarray, labels: np.ndarray) -> Images:
    return Images(images[:, None], labels.astype(np.int64))


def _read(path: Path) -> np.ndarray:
    """An array of bytes: the fourth says how many sizes follow, of four bytes each."""
    content = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(content, ">u4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)
