"""A data set on disk: one safetensors file, written once, with the digest of its content in the header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from sparrow.data.augmentation import NONE, Augmentation, augmented
from sparrow.data.order import mixed_order
from sparrow.errors import SparrowError
from sparrow.files import content
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import DATA_FORMAT as FORMAT
from sparrow.files.headers import read_header


@dataclass(frozen=True)
class Part:
    """Images as they are stored: pixels (n, channels, height, width) from 0 to `white`; labels (n,), int64; their
    indices in the source (n,); and the augmentation of each when it is drawn for training."""

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    white: int = 1
    augmentation: Augmentation = NONE
    extra: int = 0
    """Number of images, at the end, that are not the data set's own."""
    extra_share: float | None = None
    """Their share of each batch; None if all images are drawn alike."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> Tensor:
        """All images, float32 in [0, 1], computed at first use."""
        return self._scaled(self.pixels)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, float32 in [0, 1], and labels, `size` at a time."""
        for pixels, labels in zip(self.pixels.split(size), self.labels.split(size), strict=True):
            yield self._scaled(pixels), labels

    @property
    def epoch(self) -> int:
        """Number of images in an epoch."""
        return len(self) - (self.extra if self.extra_share else 0)

    def order(self, generator: torch.Generator) -> Tensor:
        """Indices (`epoch`,), int64, of the images of an epoch in random order; `generator` is on the CPU."""
        if not self.extra_share:
            return torch.randperm(len(self), generator=generator)
        return mixed_order(len(self) - self.extra, self.extra, self.extra_share, generator)

    def drawn(self, batch: Tensor) -> Tensor:
        """The images with the indices `batch`, float32 in [0, 1], augmented."""
        return self._scaled(augmented(self.pixels[batch], self.augmentation))

    def first(self, samples: int | None) -> Part:
        """The first `samples` images; all, if None."""
        return replace(self, pixels=self.pixels[:samples], labels=self.labels[:samples], indices=self.indices[:samples])

    def to(self, device: torch.device) -> Part:
        """The same part on `device`; its indices stay on the CPU."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def _scaled(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32) / self.white


@dataclass(frozen=True)
class Header:
    """The header of a data set: its digest, image shape, number of classes, and `regime`, the images held out of it or added
    to it; results of another regime cannot be compared."""

    digest: str
    shape: tuple[int, int, int]
    classes: int
    white: int
    regime: str
    names: tuple[str, ...] = ()
    """The classes' names, by number; empty if unknown."""


class Extra(NamedTuple):
    """The images added at the end of the training part: their number, and their share of each batch if it is fixed."""

    images: int = 0
    share: float | None = None


class Stored(NamedTuple):
    """A part as written: images (n, c, h, w), uint8; labels (n,), int64; and their indices (n,), int64, in the source."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def write(
    path: Path,
    parts: dict[str, Stored],
    white: int,
    classes: int,
    regime: str,
    origin: dict[str, Any] | None = None,
    extra: Extra | None = None,
) -> None:
    """Write the parts of a data set to `path`.

    `origin` is added to the header. It is not part of the digest: the same images are the same data set.
    """
    fields = ((f"{name}/{field}", tensor) for name, part in parts.items() for field, tensor in part._asdict().items())
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in fields}
    names = {part: [f"{part}/{field}" for field in sorted(Stored._fields)] for part in parts}
    header = {
        "format": FORMAT,
        "digest": content_digest((name, tensors[name]) for name in sorted(tensors)),
        # Of each part, since a job reads one or two.
        "content": {part: content_digest((name, tensors[name]) for name in own) for part, own in names.items()},
        "shape": list(next(iter(parts.values())).images.shape[1:]),
        "classes": classes,
        "white": white,
        "regime": regime,
        "parts": {name: len(part.labels) for name, part in parts.items()},
        **({"extra": extra._asdict()} if extra and extra.images else {}),
        **(origin or {}),
    }
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def read(path: Path, part: str) -> tuple[Part, Header]:
    """One part of a stored data set, and its header. Raises SparrowError, naming the file, if it is damaged or no data set."""
    raw = read_header(path, FORMAT)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {field: file.get_tensor(f"{part}/{field}") for field in sorted(Stored._fields)}
        named = raw["content"][part]
        names = tuple(raw.get("names", ()))
        header = Header(raw["digest"], tuple(raw["shape"]), raw["classes"], raw["white"], raw["regime"], names)
        extra = Extra(**raw.get("extra", {})) if part == "train" else Extra()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise SparrowError(f"{path}: not a readable data set ({error})") from None
    content.require(path, named, content_digest((f"{part}/{field}", tensor) for field, tensor in tensors.items()))
    pixels, labels, indices = (tensors[field] for field in Stored._fields)
    return Part(pixels, labels, indices, header.white, extra=extra.images, extra_share=extra.share), header
