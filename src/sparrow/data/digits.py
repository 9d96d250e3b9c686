"""Handwritten digits, 8 x 8 pixels, 1,797 images in 10 classes, shipped with scikit-learn.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
(the test part, as distributed by scikit-learn).
"""

from __future__ import annotations

import numpy as np

from sparrow.data._split import SplitParams

SHAPE = (1, 8, 8)
CLASSES = 10


class Params(SplitParams):
    """Digits has no official split: it is drawn, stratified, from all images."""


def load(params: Params) -> tuple[np.ndarray, np.ndarray, int]:
    """All images (1797, 1, 8, 8) with values 0 to 16, labels (1797,), and 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images[:, None].astype(np.uint8), digits.target.astype(np.int64), 16
