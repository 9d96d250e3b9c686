"""Handwritten digits, 8 x 8 pixels, 1,797 images in 10 classes, shipped with scikit-learn.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
(the test part, as distributed by scikit-learn).

BibTeX:

@misc{alpaydin1998optical,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  howpublished = {UCI Machine Learning Repository},
  year = {1998},
}
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sparrow.data.source import Description, Images, Source
from sparrow.data.split import SplitParams


class Params(SplitParams):
    """Digits has no official split: it is drawn, stratified, from all images."""

    images: ClassVar[tuple[int, int | None] | None] = (1797, None)


def describe(params: Params) -> Description:
    """Grey, 8 x 8; ten classes."""
    return Description((1, 8, 8), 10)


def load(params: Params) -> Source:
    """All images, with values from 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Source(Images(digits.images[:, None].astype(np.uint8), digits.target.astype(np.int64)), white=16)
