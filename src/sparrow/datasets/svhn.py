"""SVHN: house numbers from street views, colour, 32 x 32 pixels, 73,257 to train on and 26,032 to test on, in 10 classes.

The digit 0, which has the label 10 in the files, is class 0. (The publisher's own `extra` part is no training image here.)

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS Workshop on Deep Learning
and Unsupervised Feature Learning 2011 (http://ufldl.stanford.edu/housenumbers); addresses and MD5 sums are torchvision's.

BibTeX:

@inproceedings{netzer2011reading,
  author = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  title = {Reading Digits in Natural Images with Unsupervised Feature Learning},
  booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year = {2011},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.data.download import Downloaded, Remote, fetch
from sparrow.data.source import Description, Images, Source


class Params(Downloaded):
    """SVHN has an official test set."""

    images: ClassVar[tuple[int, int | None] | None] = (73_257, 26_032)


def describe(params: Params) -> Description:
    """Colour, 32 x 32; ten classes."""
    return Description((3, 32, 32), 10)


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if one is not there or not the official one."""
    from torchvision.datasets import SVHN

    files = [Remote(name, md5, (url,)) for url, name, md5 in (SVHN.split_list[part] for part in ("train", "test"))]
    folder = fetch(files, params)[0].parent
    train, test = (SVHN(folder, part) for part in ("train", "test"))
    return Source(Images(train.data, train.labels), Images(test.data, test.labels))
