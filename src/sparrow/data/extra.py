"""Training images beyond the data set's own, from an .npz: generated ones, or ones that another network has labelled.

The .npz is read in pieces into one array, since it may have gigabytes.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from sparrow.data.source import Description, Images
from sparrow.data.split import HeldOut
from sparrow.errors import SparrowError

IMAGE_KEYS = ("image", "images", "data", "x")
LABEL_KEYS = ("label", "labels", "targets", "y")
PIECE = 4096
"""Images read at a time."""
HOW_TO = "numpy.savez(path, image=images, label=labels) makes one"


class _Array(NamedTuple):
    """The header of an array in the .npz."""

    name: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


def count(params: HeldOut) -> int:
    """Number of extra images to use, from the header of their file. Raises SparrowError, naming it, if it is no such .npz."""
    if params.extra is None:
        return 0
    with _opened(params.extra) as (path, file):
        return _taken(path, _array(path, file, IMAGE_KEYS), params)


def with_extra(own: Images, params: HeldOut, about: Description, white: int) -> Images:
    """The `own` training images, followed by the extra ones of `params`.

    Raises SparrowError, naming the file, if the extra ones do not fit the data set `about`, with values from 0 to `white`.
    """
    if params.extra is None:
        return own
    with _opened(params.extra) as (path, file):
        pixels, marks = _array(path, file, IMAGE_KEYS), _array(path, file, LABEL_KEYS)
        added, place = _taken(path, pixels, params), len(own.labels)
        labels = _labels(path, file, marks, pixels, about.classes)[:added]
        images = np.empty((place + added, *about.shape), np.uint8)
        images[:place] = own.images
        for piece in _pieces(path, file, pixels, about.shape, added):
            if piece.max() > white:
                raise SparrowError(f"{path}: {pixels.name} has the value {piece.max()}; the data set's go from 0 to {white}")
            images[place : place + len(piece)] = piece
            place += len(piece)
    return Images(images, np.concatenate([own.labels, labels]))


@contextmanager
def _opened(extra: str) -> Iterator[tuple[Path, zipfile.ZipFile]]:
    path = Path(extra).expanduser()
    try:
        with open(path, "rb") as stream:
            start = stream.read(2)
        if start[:1] == b"\x80":
            raise SparrowError(f"{path}: a pickle, which may run code and is not read; valid: an .npz ({HOW_TO})")
        with zipfile.ZipFile(path) as file:
            yield path, file
    except FileNotFoundError:
        raise SparrowError(f"{path}: no such file; `extra` names an .npz of images and labels") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise SparrowError(f"{path}: truncated, or not an .npz ({error}); {HOW_TO}") from None


def _array(path: Path, file: zipfile.ZipFile, keys: tuple[str, ...]) -> _Array:
    names = [name.removesuffix(".npy") for name in file.namelist()]
    name = next((key for key in keys if key in names), None)
    if name is None:
        raise SparrowError(f"{path}: has the arrays {', '.join(names) or 'none'}, but not {keys[0]} (or {', '.join(keys[1:])})")
    with file.open(f"{name}.npy") as stream:
        array = _Array(name, *_header(stream))
    if array.dtype.hasobject:
        raise SparrowError(f"{path}: {name} is a pickle of Python objects, which may run code and is not read")
    if array.fortran and len(array.shape) > 1:
        raise SparrowError(f"{path}: {name} is in Fortran order; save it by numpy.ascontiguousarray")
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _taken(path: Path, pixels: _Array, params: HeldOut) -> int:
    there = pixels.shape[0] if pixels.shape else 0
    wanted = there if params.extra_samples is None else params.extra_samples
    if not 0 < wanted <= there:
        raise SparrowError(f"{path}: has {there:,} images" + (f"; `extra_samples` is {wanted:,}" if there else ""))
    return wanted


def _labels(path: Path, file: zipfile.ZipFile, marks: _Array, pixels: _Array, classes: int) -> np.ndarray:
    if marks.dtype.kind not in "iu" or marks.shape != pixels.shape[:1]:
        raise SparrowError(
            f"{path}: {marks.name} is {marks.dtype} of shape {marks.shape}; must be a whole number for each of "
            f"{pixels.shape[0]:,} images"
        )
    with file.open(f"{marks.name}.npy") as stream:
        labels = np.lib.format.read_array(stream, allow_pickle=False)
    for label in (labels.min(), labels.max()):
        if not 0 <= label < classes:
            raise SparrowError(f"{path}: {marks.name} has the value {label}; the data set's go from 0 to {classes - 1}")
    return labels.astype(np.int64)


def _pieces(path: Path, file: zipfile.ZipFile, pixels: _Array, shape: tuple[int, int, int], added: int) -> Iterator[np.ndarray]:
    """The first `added` images, (n, channels, height, width), at most PIECE at a time."""
    last = (*shape[1:], shape[0])
    forms = [shape, last] + ([shape[1:]] if shape[0] == 1 else [])  # Grey images may go without channels.
    if pixels.dtype != np.uint8 or pixels.shape[1:] not in forms:
        known = " or ".join(f"(n, {', '.join(map(str, form))})" for form in forms)
        raise SparrowError(f"{path}: {pixels.name} is {pixels.dtype} of shape {pixels.shape}; must be uint8, {known}")
    size = int(np.prod(shape))
    with file.open(f"{pixels.name}.npy") as stream:
        _header(stream)
        for start in range(0, added, PIECE):
            held = min(PIECE, added - start)
            content = stream.read(held * size)
            if len(content) < held * size:
                raise EOFError(f"{pixels.name} ends after {start + len(content) // size:,} images")
            piece = np.frombuffer(content, np.uint8)
            if pixels.shape[1:] == last != shape:
                yield piece.reshape(held, *last).transpose(0, 3, 1, 2)
            else:
                yield piece.reshape(held, *shape)
