"""The files of public data sets in their real forms, with a few random images each.

The official files are too large to keep here. What is checked of them, their MD5 sums, is replaced by that of these; how the
official ones are laid out, and that their sums are the publishers', is not for these to say.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision

from sparrow.data.source import Images
from sparrow.datasets import cifar10, cifar100

PUBLIC = ("cifar10", "cifar100", "fashion-mnist", "mnist", "svhn")


def write(kind: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Images, Images]:
    """Write a data set's files below `root` and have them count as official ones; returns their training and test images."""
    shape = (1, 28, 28) if "mnist" in kind else (3, 32, 32)
    classes = 100 if kind == "cifar100" else 10
    train, test = _images(10 * classes, shape, classes, 0), _images(2 * classes, shape, classes, 1)
    if kind == "cifar10":
        members = _named(cifar10.TRAIN, train, 1) | _named([cifar10.TEST], test, 1)
        _archive(cifar10, members, root, monkeypatch)
    elif kind == "cifar100":
        members = _named(cifar100.TRAIN, train, 2) | _named([cifar100.TEST], test, 2)
        _archive(cifar100, members, root, monkeypatch)
    elif kind == "svhn":
        parts = {"train": train, "test": test}
        listed = {part: _mat(root, part, images) for part, images in parts.items()}
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    else:
        published = {"mnist": torchvision.datasets.MNIST, "fashion-mnist": torchvision.datasets.FashionMNIST}[kind]
        contents = [array for part in (train, test) for array in (part.images[:, 0], part.labels)]
        names = [name for name, _ in published.resources]
        folder = root / published.__name__ / "raw"
        sums = [_put(folder / name, gzip.compress(_idx(array))) for name, array in zip(names, contents, strict=True)]
        monkeypatch.setattr(published, "resources", list(zip(names, sums, strict=True)))
    return train, test


def _images(count: int, shape: tuple[int, int, int], classes: int, seed: int) -> Images:
    random = np.random.default_rng(seed)
    return Images(random.integers(0, 256, (count, *shape), np.uint8), random.permutation(np.arange(count) % classes))


def _put(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def _named(names: list[str], part: Images, labels: int) -> dict[str, bytes]:
    """Binary batches: of two labels, the first is the coarse class, which is never the fine one here."""
    batches = {}
    for name, chosen in zip(names, np.array_split(np.arange(len(part.labels)), len(names)), strict=True):
        marks = [bytes([(label + 7) % 20, label] if labels == 2 else [label]) for label in part.labels[chosen].tolist()]
        batches[name] = b"".join(mark + image.tobytes() for mark, image in zip(marks, part.images[chosen], strict=True))
    return batches


def _archive(module, members: dict[str, bytes], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        # Among other files, and in no order, as in the official archives.
        for name, content in reversed([*members.items(), (f"{Path(module.TEST).parent}/readme.html", b"<html>")]):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    md5 = _put(root / module.ARCHIVE.path, buffer.getvalue())
    monkeypatch.setattr(module, "ARCHIVE", module.ARCHIVE._replace(md5=md5))


def _mat(root: Path, part: str, images: Images) -> list[str]:
    url, name, _ = torchvision.datasets.SVHN.split_list[part]
    labels = np.where(images.labels == 0, 10, images.labels).astype(np.uint8)[:, None]
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"X": images.images.transpose(2, 3, 1, 0), "y": labels})
    return [url, name, _put(root / name, buffer.getvalue())]


def _idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.astype(np.uint8).tobytes()
