"""The user's own files that a data set is read from: where one of them changes, the data set is made anew. Imports no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from sparrow import catalogue
from sparrow.data.corruptions.params import Corruptions
from sparrow.data.files import files_below
from sparrow.data.folder_count import count_by_class
from sparrow.errors import SparrowError


class DataSet(Iterable[tuple[str, Any]], Protocol):
    """The parameters of a study's data set, one after the other by name."""

    kind: str
    extra: str | None
    corruptions: Corruptions


def files(params: DataSet) -> list[str]:
    """The files behind a data set, as far as they are there."""
    return [os.path.normpath(path) for path in _paths(params) if os.path.isfile(path)]


def folders(params: DataSet) -> dict[str, str]:
    """The folders behind a data set, as far as they are there, with a digest (16 digits) of the names and sizes of all files.

    The time at which a folder changed says nothing of the folders in it. Links are followed; hidden files do not count.
    """
    return {path: _listing(path) for path in _paths(params) if os.path.isdir(path)}


def require(label: str, params: DataSet) -> None:
    """Raise SparrowError, a line for each, naming the key, if files or folders behind a data set are not there."""
    lines = list(missing(label, params))
    if lines:
        raise SparrowError("\n".join(lines))


def missing(label: str, params: DataSet) -> Iterator[str]:
    """A line, naming the key, for each file or folder behind a data set that is not there."""
    told = {os.path.expanduser(value): key for key, value in params if isinstance(value, str)}
    for path in _paths(params):
        if not os.path.exists(path):
            yield f"datasets.{label}.{told[path]}: {path}: no such file or folder, and images are to be read from it"


def misfits(label: str, params: DataSet) -> Iterator[str]:
    """A line, naming the key, for each folder or zip of class folders that has images in more or fewer than the data set has
    classes.

    Files are known by their names alone. What is not there, and data sets that do not say which files are images (`SUFFIXES`),
    have none.
    """
    entry = catalogue.load("datasets", params.kind)
    if not (hasattr(entry, "SUFFIXES") and hasattr(entry, "files")):
        return
    told = {os.path.expanduser(value): key for key, value in params if isinstance(value, str)}
    classes = entry.describe(params).classes
    for path in filter(os.path.exists, entry.files(params)):
        key = f"datasets.{label}.{told.get(path, 'files')}"
        try:
            found = sorted(count_by_class(Path(path), tuple(entry.SUFFIXES)))
        except SparrowError as error:
            yield f"{key}: {error}"
            continue
        if len(found) != classes:
            some = f" ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})" if found else ""
            yield f"{key}: {path}: has {len(found)} folders with images in them{some}; the data set has {classes} classes"


def archive(params: DataSet) -> list[str]:
    """The archive that a data set's corrupted images are read from, as far as it is there."""
    path = params.corruptions.file
    return [os.path.normpath(os.path.expanduser(path))] if path and os.path.isfile(os.path.expanduser(path)) else []


def require_archive(label: str, params: DataSet) -> None:
    """Raise SparrowError, naming the key, if a data set's corrupted images are read from an archive that is not there."""
    if line := missing_archive(label, params):
        raise SparrowError(line)


def missing_archive(label: str, params: DataSet) -> str | None:
    """The line that says so; None where the archive is there, or none is read."""
    path = params.corruptions.file
    if not path or archive(params):
        return None
    return f"datasets.{label}.corruptions.file: {path}: no such file; valid: the published archive, or null to make the images"


def _paths(params: DataSet) -> list[str]:
    entry = catalogue.load("datasets", params.kind)
    own = entry.files(params) if hasattr(entry, "files") else []
    return own if params.extra is None else [*own, os.path.expanduser(params.extra)]


def _listing(folder: str) -> str:
    found = []
    for file in files_below(folder):
        inside, _, name = file.path.rpartition("/")
        found.append((f"/{inside}" if inside else "", name, file.size))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:16]
