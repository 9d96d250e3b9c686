"""Files of public data sets: downloaded if missing, and checked by their MD5 before they are read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from sparrow.data.split import HeldOut
from sparrow.errors import SparrowError, StorageError
from sparrow.files.atomic import replacing

SILENCE_SECONDS = 60
"""Timeout of a connection to a server."""


class Downloaded(HeldOut):
    """The folder of a public data set, and the split of its training images."""

    root: str = Field("data", min_length=1)
    """Folder of the data set's files; a path is relative to the working directory."""
    download: bool = True
    """Download the files that are not there; they stay for the next time."""


class Remote(NamedTuple):
    """A file of a public data set, identified by the MD5 that its publisher states."""

    path: str
    """Relative to `root`."""
    md5: str
    addresses: tuple[str, ...]
    """URLs, tried one after the other."""


def fetch(files: list[Remote], params: Downloaded) -> list[Path]:
    """Paths of the `files`, each downloaded if missing, and with the MD5 that its publisher states.

    Raises SparrowError if an MD5 differs, or if a file is missing and cannot be downloaded, naming all that are missing.
    Existing files are never changed.
    """
    root = Path(params.root).expanduser()
    for file in files:
        path = root / file.path
        try:
            if path.exists():
                _check(path, file)
            elif params.download:
                _download(path, file)
            else:
                raise _Missing("`download` is off")
        except _Missing as reason:
            missing = [file for file in files if not (root / file.path).exists()]
            names = ", ".join(f"{Path(file.path).name} (MD5 {file.md5})" for file in missing)
            address = file.addresses[0].rpartition("/")[0]
            raise SparrowError(f"{path}: no such file ({reason}); put {names} from {address} into {path.parent}") from None
    return [root / file.path for file in files]


class _Missing(Exception):
    """A file is missing; the message is why it was not downloaded."""


def _check(path: Path, file: Remote) -> None:
    from torchvision.datasets.utils import calculate_md5

    try:
        found = calculate_md5(path)
    except OSError as error:
        raise SparrowError(f"{path}: cannot be read ({error.strerror})") from None
    if found != file.md5:
        raise SparrowError(
            f"{path}: truncated, or another file than {file.addresses[0]} (MD5 {found}, expected {file.md5}); "
            "move it away to have it downloaded, or put the right one there"
        )


def _download(path: Path, file: Remote) -> None:
    from torchvision.datasets.utils import download_url

    reasons = []
    for address in file.addresses:
        try:
            with replacing(path) as partial, _timeout():
                download_url(address, partial.parent, partial.name, file.md5)
            return
        except StorageError:
            raise
        except (OSError, HTTPException, RuntimeError, ValueError) as error:  # A RuntimeError is torchvision's, for a wrong MD5.
            reasons.append(" ".join(str(error).split()))
    raise _Missing(f"download failed: {'; '.join(dict.fromkeys(reasons))}")


@contextmanager
def _timeout() -> Iterator[None]:
    """Set SILENCE_SECONDS as the timeout of sockets, inside the context: torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
