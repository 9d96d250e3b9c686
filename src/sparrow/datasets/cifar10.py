"""CIFAR-10: colour photographs, 32 x 32 pixels, 50,000 to train on and 10,000 to test on, in 10 classes.

The binary version is what is downloaded and read.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html.

BibTeX:

@techreport{krizhevsky2009learning,
  author = {Krizhevsky, Alex},
  title = {Learning Multiple Layers of Features from Tiny Images},
  institution = {University of Toronto},
  year = {2009},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.data import cifar
from sparrow.data.augmentation import CIFAR, Augmentation
from sparrow.data.download import Downloaded, Remote, fetch
from sparrow.data.source import Description, Source

ARCHIVE = Remote(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
FOLDER = "cifar-10-batches-bin"
TRAIN, TEST = [f"{FOLDER}/data_batch_{number}.bin" for number in range(1, 6)], f"{FOLDER}/test_batch.bin"


class Params(Downloaded):
    """CIFAR-10 has an official test set."""

    images: ClassVar[tuple[int, int | None] | None] = (50_000, 10_000)
    augmentation: Augmentation = CIFAR
    """What is done to training images, each time that they are seen."""


def describe(params: Params) -> Description:
    """Colour, 32 x 32; ten classes."""
    return Description(cifar.SHAPE, 10)


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if it is not there or not the official one."""
    (archive,) = fetch([ARCHIVE], params)
    return Source(*cifar.read(archive, TRAIN, TEST, labels=1))
