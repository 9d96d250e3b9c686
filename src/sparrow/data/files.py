"""A listing of the files below a folder, links followed. Imports nothing that takes time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple


class File(NamedTuple):
    """A file below a folder, or an entry there that cannot be read."""

    path: str
    """Relative to the folder, with `/` between its parts."""
    size: int
    """Bytes of the file itself, not of a link to it; -1 if there is none."""
    fault: str = ""
    """Why it cannot be read; empty if it is a file."""


def files_below(folder: str, inside: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[File]:
    """All files below `folder` that are not hidden, sorted by name; links to files and folders are followed.

    A link to a folder that contains it is not followed. An entry that cannot be read is a `File` with a `fault`.
    """
    place = os.path.join(folder, inside)
    try:
        here = os.stat(place)
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield File(inside or ".", -1, f"cannot be listed: {error.strerror}")
        return
    above |= {(here.st_dev, here.st_ino)}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = f"{inside}/{entry.name}" if inside else entry.name
        try:
            about = entry.stat()
            if entry.is_dir() and (about.st_dev, about.st_ino) in above:
                yield File(path, -1, "a link to a folder in which it lies")
            elif entry.is_dir():
                yield from files_below(folder, path, above)
            elif entry.is_file():
                yield File(path, about.st_size)
            else:
                yield File(path, -1, "no regular file")
        except OSError:
            yield File(path, -1, "a link to nothing")
