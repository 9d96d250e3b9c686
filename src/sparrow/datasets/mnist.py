"""MNIST: handwritten digits, grey, 28 x 28 pixels, 60,000 to train on and 10,000 to test on, in 10 classes.

Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 1998; addresses and
MD5 sums are torchvision's.

BibTeX:

@article{lecun1998gradient,
  author = {LeCun, Yann and Bottou, Léon and Bengio, Yoshua and Haffner, Patrick},
  title = {Gradient-Based Learning Applied to Document Recognition},
  journal = {Proceedings of the IEEE},
  volume = {86},
  number = {11},
  pages = {2278--2324},
  year = {1998},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.data import idx
from sparrow.data.download import Downloaded
from sparrow.data.source import Description, Source


class Params(Downloaded):
    """MNIST has an official test set."""

    images: ClassVar[tuple[int, int | None] | None] = (60_000, 10_000)


def describe(params: Params) -> Description:
    """Grey, 28 x 28; ten classes."""
    return Description((1, 28, 28), 10)


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if one is not there or not the official one."""
    from torchvision.datasets import MNIST

    return idx.load(MNIST, params)
