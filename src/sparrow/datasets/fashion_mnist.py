"""Fashion-MNIST: articles of clothing, grey, 28 x 28 pixels, 60,000 to train on and 10,000 to test on, in 10 classes.

Source: H. Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", arXiv 1708.07747;
addresses and MD5 sums are torchvision's.

BibTeX:

@misc{xiao2017fashion,
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  title = {Fashion-{MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  year = {2017},
  eprint = {1708.07747},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.data import idx
from sparrow.data.download import Downloaded
from sparrow.data.source import Description, Source


class Params(Downloaded):
    """Fashion-MNIST has an official test set."""

    images: ClassVar[tuple[int, int | None] | None] = (60_000, 10_000)


def describe(params: Params) -> Description:
    """Grey, 28 x 28; ten classes."""
    return Description((1, 28, 28), 10)


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if one is not there or not the official one."""
    from torchvision.datasets import FashionMNIST

    return idx.load(FashionMNIST, params)
