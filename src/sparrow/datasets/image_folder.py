"""Images of your own: a folder, or a zip, with one folder of images for each class.

The classes are numbered in the order of their folders' names (of numbers: by size), or as `class_order` says. Images are turned
as their EXIF data say; transparent ones are laid on a background. Images of another size are scaled and cut to a square around
their middle, by Pillow's `ImageOps.fit`. Links are followed, hidden files are none, and the log says which files were not read.

Source: the user's own images.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sparrow.data.background import Background, colour
from sparrow.data.files import files_below
from sparrow.data.source import Description, Images, Source
from sparrow.data.split import SplitParams
from sparrow.errors import SparrowError
from sparrow.settings import unique

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
ORDERS = ("numeric", "string")
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def _order(value: Any) -> Any:
    """An order of classes as configured, with numbers as names. Raises ValueError, in one line, for anything else."""
    if value in ORDERS:
        return value
    if (
        not isinstance(value, list)
        or not value
        or any(isinstance(one, bool) or not isinstance(one, str | int) for one in value)
    ):
        raise ValueError(f"{value!r} is no order of classes; valid: {', '.join(ORDERS)}, or a list of all class folders' names")
    return unique([str(one) for one in value])


_NAMES = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "minItems": 1}
_ORDER = {"anyOf": [{"enum": list(ORDERS)}, _NAMES]}


class Params(SplitParams):
    """The folders of the images, and the form that the images are converted to."""

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
    class_order: Annotated[str | list[str], BeforeValidator(_order), WithJsonSchema(_ORDER)] = "numeric"
    """Which class folder is which logit: `numeric` sorts names that are numbers by size, before all others; `string` sorts all
    names as text, so that 10 comes before 2, as torchvision's ImageFolder does; or the names in their order."""
    background: Background = "white"
    """What is seen through transparent pixels: `white`, `black`, a level of grey from 0 to 255, or a colour, `'#rrggbb'`."""

    @model_validator(mode="after")
    def _orders_all_classes(self) -> Params:
        if isinstance(self.class_order, list) and len(self.class_order) != self.classes:
            raise ValueError(f"class_order names {len(self.class_order)} classes, `classes` says {self.classes}")
        return self


def describe(params: Params) -> Description:
    """Shape and classes as configured; `load` checks them."""
    return Description((params.channels, params.size, params.size), params.classes)


def files(params: Params) -> list[str]:
    """The folders or zips that the images are read from: if one of them changes, they are read anew."""
    return [os.path.expanduser(path) for path in (params.folder, params.test_folder) if path is not None]


def load(params: Params) -> Source:
    """All images. Raises SparrowError, naming the file, if one is missing or not an image, or if the classes differ."""
    names, train = _read(Path(params.folder).expanduser(), params)
    print(f"classes: {', '.join(names)}")
    if params.class_order == "numeric" and names != (texts := sorted(names)):
        print(f"that is by number; torchvision's ImageFolder has {', '.join(texts)}, which is `class_order: string`")
    if params.test_folder is None:
        return Source(train, names=tuple(names))
    others, test = _read(Path(params.test_folder).expanduser(), params)
    if others != names:
        odd = sorted(set(names) ^ set(others))[0]
        raise SparrowError(f"{params.test_folder}: its class folders are not those of {params.folder} (one has no {odd!r})")
    return Source(train, test, names=tuple(names))


class Member(NamedTuple):
    """A file in the folder or zip."""

    path: PurePosixPath
    """Relative to the folder."""
    open: Callable[[], IO[bytes]]
    fault: str = ""
    """Why it is not read as an image; empty if it is."""


def _read(folder: Path, params: Params) -> tuple[list[str], Images]:
    with _opened(folder) as members:
        images = sorted((member for member in members if not member.fault), key=lambda member: member.path)
        depth = _depth_of_classes([member.path for member in images])
        inside = [member for member in images if len(member.path.parts) > depth + 1]
        faults = [member.fault for member in members if member.fault]
        faults += ["outside the class folders"] * (len(images) - len(inside))
        left_out = ", ".join(f"{count} {fault}" for fault, count in sorted(Counter(faults).items()))
        classes = _ordered({member.path.parts[depth] for member in inside}, folder, params, left_out)
        if left_out:
            print(f"{folder}: {len(faults)} files were not read: {left_out}")
        pixels = np.empty((len(inside), params.channels, params.size, params.size), np.uint8)
        done: Counter[str] = Counter()
        for place, member in enumerate(inside):
            pixels[place] = _image(folder, member, params, done)
    if done["composed"]:
        print(f"{folder}: {done['composed']} of {len(inside)} are transparent: laid on `background: {params.background}`")
    if done["plain"]:
        print(f"{folder}: {done['plain']} of these are of one colour on it: nothing can be seen; choose another `background`")
    if done["turned"]:
        print(f"{folder}: {done['turned']} of {len(inside)} were turned as their EXIF orientation says")
    number = {name: place for place, name in enumerate(classes)}
    return classes, Images(pixels, np.array([number[member.path.parts[depth]] for member in inside], np.int64))


def _ordered(found: set[str], folder: Path, params: Params, left_out: str) -> list[str]:
    """Names of the class folders in the order of the logits. Raises SparrowError if they are not as configured."""
    order = params.class_order
    names = sorted(found, key=_by_number if order == "numeric" else None)
    if len(names) != params.classes:
        some = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
        besides = f"; not read: {left_out}" if left_out else ""
        raise SparrowError(f"{folder}: has {len(names)} folders of images{some}; `classes` says {params.classes}{besides}")
    if len(names) > 1 and {name.lower() for name in names} <= PARTS:
        parts = " and ".join(names)
        raise SparrowError(f"{folder}: {parts} are parts of a data set; give one as `folder`, another as `test_folder`")
    if not isinstance(order, list):
        return names
    if set(order) != found:
        odd = min(set(order) ^ found)
        fault = "is no folder of images there" if odd in order else "is a class folder that it does not name"
        raise SparrowError(f"{folder}: `class_order`: {odd!r} {fault}; valid: {', '.join(names)}, in any order")
    return list(order)


def _by_number(name: str) -> tuple[int, str]:
    """A sort key: numbers by size, before all other names."""
    return (int(name), name) if name.isdecimal() else (sys.maxsize, name)


def _depth_of_classes(paths: list[PurePosixPath]) -> int:
    """Depth of the class folders: the number of parent folders that all images share."""
    depth = 0
    while paths and len({path.parts[depth] for path in paths}) == 1 and all(len(path.parts) > depth + 2 for path in paths):
        depth += 1
    return depth


def _image(folder: Path, member: Member, params: Params, done: Counter[str]) -> np.ndarray:
    """Pixels (channels, size, size), uint8; increments `composed`, `turned` and `plain` in `done` where they apply."""
    from PIL import Image, ImageOps

    from sparrow.data.decode import decode

    try:
        with member.open() as file, Image.open(file) as opened:
            if opened.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are of Pillow's mode {opened.mode}, which has more than eight bits; convert them")
            image, composed, turned = decode(opened, "RGB" if params.channels == 3 else "L", colour(params.background))
            done["composed"] += composed
            done["turned"] += turned
            done["plain"] += composed and all(low == high for low, high in np.reshape(image.getextrema(), (-1, 2)))
            if image.size != (params.size, params.size):
                image = ImageOps.fit(image, (params.size, params.size), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(params.size, params.size, params.channels).transpose(2, 0, 1)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        # A RuntimeError: an encrypted zip, or one packed in a way that Python does not know.
        raise SparrowError(f"{folder}: {member.path} is not a readable image ({error})") from None


@contextmanager
def _opened(folder: Path) -> Iterator[list[Member]]:
    """Yield all files in a folder or zip that are not hidden."""
    if folder.is_dir():
        yield [_in_folder(folder, file.path, file.fault) for file in files_below(str(folder)) if not _hidden(file.path)]
        return
    try:
        archive = zipfile.ZipFile(folder)
    except FileNotFoundError:
        raise SparrowError(f"{folder}: no such folder or zip; it should hold one folder of images for each class") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise SparrowError(f"{folder}: neither a folder nor a zip ({error})") from None
    with archive:
        yield list(_in_zip(folder, archive))


def _in_folder(folder: Path, path: str, fault: str) -> Member:
    return Member(PurePosixPath(path), lambda: open(folder / path, "rb"), fault or _suffix_fault(path))


def _in_zip(folder: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    """The files of a zip, which may list one twice, or write paths as `./a/0.png`, `a//0.png`, or with backslashes."""
    known: dict[PurePosixPath, tuple[int, int]] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        path, content = PurePosixPath(name.lstrip("/")), (info.CRC, info.file_size)
        if name.endswith("/") or _hidden(str(path)):
            continue
        if path not in known:
            known[path] = content
            yield Member(path, partial(archive.open, info), _suffix_fault(str(path)))
        elif known[path] == content:
            yield Member(path, partial(archive.open, info), "listed twice")
        else:
            raise SparrowError(f"{folder}: holds two files {path}, which differ; have it packed anew with one of them")


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/"))


def _suffix_fault(path: str) -> str:
    """Why a file is not read as an image, by its suffix; empty if it is."""
    if path.lower().endswith(SUFFIXES):
        return ""
    suffix = PurePosixPath(path).suffix
    return f"with the suffix {suffix}" if suffix else "without a suffix"
