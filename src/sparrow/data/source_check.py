"""What `load` of a data set gives, checked before it is divided: a label too few would give every image another's."""

from __future__ import annotations

import numpy as np

from sparrow.data.source import Description, Images, Source
from sparrow.errors import SparrowError


def require_source(source: object, about: Description, name: str) -> Source:
    """`source`, once it is known to be what `about` describes. Raises SparrowError, naming `name` ("datasets.digits")."""
    if not isinstance(source, Source):
        raise SparrowError(f"{name}: load gives a value of type {type(source).__name__}, expected sparrow.data.source.Source")
    if not 1 <= source.white <= 255:
        raise SparrowError(f"{name}: load gives Source.white {source.white}, expected the value of a white pixel, 1 to 255")
    for what, part in (("train", source.train), ("test", source.test)):
        if part is not None or what == "train":
            fault = _fault(part, about, source.white)
            if fault:
                raise SparrowError(f"{name}: load gives {fault} (Source.{what})")
    return source


def missing_classes(source: Source, about: Description) -> list[int]:
    """The classes of which `source` has no training image."""
    return sorted(set(range(about.classes)) - set(source.train.labels.tolist()))


def _fault(part: object, about: Description, white: int) -> str | None:
    """What is wrong with some images and their labels, as the object of a sentence; None if nothing is."""
    if not isinstance(part, Images):
        return f"a value of type {type(part).__name__}, expected sparrow.data.source.Images"
    images, labels = part
    shape = ", ".join(str(size) for size in about.shape)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != tuple(about.shape):
        return f"{_described(images)} as images, expected uint8 (n, {shape}), as describe says"
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 1:
        return f"{_described(labels)} as labels, expected int64 (n,)"
    if len(labels) != len(images):
        return f"{len(labels)} labels for {len(images)} images"
    if not len(images):
        return "no image"
    if labels.min() < 0 or labels.max() >= about.classes:
        return f"labels from {labels.min()} to {labels.max()}, expected 0 to {about.classes - 1}, as describe says"
    if images.max() > white:
        return f"a pixel of {images.max()}, above Source.white, which is {white}"
    return None


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"a value of type {type(value).__name__}"
