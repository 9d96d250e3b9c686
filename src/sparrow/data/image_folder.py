"""Images of your own: a folder, or a zip, with one folder of images for each class.

The classes are numbered in the order of their folders' names (of numbers: by size). Images of another size are scaled
and cut to a square around their middle, by Pillow's `ImageOps.fit`.

Source: the user's own images.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import numpy as np
from pydantic import Field

from sparrow.data._source import Description, Images, Source
from sparrow.data._split import SplitParams
from sparrow.errors import SparrowError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class Params(SplitParams):
    """Where the images are, and what they are made into."""

    folder: str = Field(min_length=1)
    """Folder or zip of class folders; a path is relative to the working directory."""
    test_folder: str | None = Field(None, min_length=1)
    """The same with the official test images; if null, the share `test` of `folder` is drawn."""
    size: int = Field(ge=1)
    """Height and width, in pixels, of the images after scaling."""
    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    classes: int = Field(ge=2)
    """Number of class folders."""


def describe(params: Params) -> Description:
    """As configured; `load` checks it."""
    return Description((params.channels, params.size, params.size), params.classes)


def files(params: Params) -> list[str]:
    """What the images are read from: if one of these changes, they are read anew."""
    return [os.path.expanduser(path) for path in (params.folder, params.test_folder) if path is not None]


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if one is missing or not an image, or if the classes differ."""
    names, train = _read(Path(params.folder).expanduser(), params)
    print(f"classes: {', '.join(names)}")
    if params.test_folder is None:
        return Source(train)
    others, test = _read(Path(params.test_folder).expanduser(), params)
    if others != names:
        odd = sorted(set(names) ^ set(others))[0]
        raise SparrowError(f"{params.test_folder}: its class folders are not those of {params.folder} (one has no {odd!r})")
    return Source(train, test)


def _read(folder: Path, params: Params) -> tuple[list[str], Images]:
    with _opened(folder) as (names, opened):
        paths = sorted(PurePosixPath(name) for name in names if name.lower().endswith(SUFFIXES))
        paths = [path for path in paths if not any(part.startswith((".", "__MACOSX")) for part in path.parts)]
        depth = _depth_of_classes(paths)
        classes = sorted({path.parts[depth] for path in paths if len(path.parts) > depth + 1}, key=_by_number)
        if len(classes) != params.classes:
            some = f" ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})" if classes else ""
            raise SparrowError(f"{folder}: has {len(classes)} folders of images{some}; `classes` says {params.classes}")
        if len(classes) > 1 and {name.lower() for name in classes} <= PARTS:
            names = " and ".join(classes)
            raise SparrowError(f"{folder}: {names} are parts of a data set; give one as `folder`, another as `test_folder`")
        inside = [path for path in paths if len(path.parts) > depth + 1]
        images = np.empty((len(inside), params.channels, params.size, params.size), np.uint8)
        for place, path in enumerate(inside):
            images[place] = _image(folder, path, opened, params)
    number = {name: place for place, name in enumerate(classes)}
    return classes, Images(images, np.array([number[path.parts[depth]] for path in inside], np.int64))


def _by_number(name: str) -> tuple[int, str]:
    """Numbers by size and before all other names."""
    return (int(name), name) if name.isdecimal() else (sys.maxsize, name)


def _depth_of_classes(paths: list[PurePosixPath]) -> int:
    """How many folders deep the class folders are: below whatever all images have in common."""
    depth = 0
    while paths and len({path.parts[depth] for path in paths}) == 1 and all(len(path.parts) > depth + 2 for path in paths):
        depth += 1
    return depth


def _image(folder: Path, path: PurePosixPath, opened, params: Params) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with opened(path) as file, Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are of Pillow's mode {image.mode}, which has more than eight bits; convert them")
            image = image.convert("RGB" if params.channels == 3 else "L")
            if image.size != (params.size, params.size):
                image = ImageOps.fit(image, (params.size, params.size), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(params.size, params.size, params.channels).transpose(2, 0, 1)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        # A RuntimeError: an encrypted zip, or one packed in a way that Python does not know.
        raise SparrowError(f"{folder}: {path} is not a readable image ({error})") from None


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[list[str], object]]:
    """Names of all files in a folder or zip, relative to it, and a function that opens one."""
    if folder.is_dir():

        def from_folder(path: PurePosixPath) -> IO[bytes]:
            return open(folder / path, "rb")

        yield [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()], from_folder
        return
    try:
        archive = zipfile.ZipFile(folder)
    except FileNotFoundError:
        raise SparrowError(f"{folder}: no such folder or zip; it should hold one folder of images for each class") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise SparrowError(f"{folder}: neither a folder nor a zip ({error})") from None
    with archive:
        yield archive.namelist(), lambda path: archive.open(str(path))
