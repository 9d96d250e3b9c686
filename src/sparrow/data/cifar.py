"""A reader of CIFAR's binary version; the Python version consists of pickles, which can run code."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from sparrow.data.source import Images

SHAPE = (3, 32, 32)


def read(archive: Path, train: list[str], test: str, labels: int) -> tuple[Images, Images]:
    """Training and test images from the members `train` and `test` of a tar.

    An image's record has `labels` bytes of labels, of which the last is used, then its red, green and blue pixels by rows.
    """
    wanted, found = {*train, test}, {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name in wanted else None
            if stream is not None:
                found[member.name] = stream.read()
    return _images([found[name] for name in train], labels), _images([found[test]], labels)


def _images(batches: list[bytes], labels: int) -> Images:
    records = [np.frombuffer(batch, np.uint8).reshape(-1, labels + int(np.prod(SHAPE))) for batch in batches]
    images = np.concatenate([batch[:, labels:] for batch in records]).reshape(-1, *SHAPE)
    return Images(images, np.concatenate([batch[:, labels - 1] for batch in records]).astype(np.int64))
