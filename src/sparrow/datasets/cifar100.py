"""CIFAR-100: colour photographs, 32 x 32 pixels, 50,000 to train on and 10,000 to test on, in 100 (fine) classes.

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
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
)
TRAIN, TEST = ["cifar-100-binary/train.bin"], "cifar-100-binary/test.bin"


class Params(Downloaded):
    """CIFAR-100 has an official test set."""

    images: ClassVar[tuple[int, int | None] | None] = (50_000, 10_000)
    augmentation: Augmentation = CIFAR
    """What is done to training images, each time that they are seen."""


def describe(params: Params) -> Description:
    """Colour, 32 x 32; a hundred classes."""
    return Description(cifar.SHAPE, 100)


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if it is not there or not the official one."""
    (archive,) = fetch([ARCHIVE], params)
    # The first label of each image is one of twenty coarse classes.
    return Source(*cifar.read(archive, TRAIN, TEST, labels=2))
