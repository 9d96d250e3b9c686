"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparrow.errors import SparrowError, StorageError

SUFFIX = ".partial"
STALE_SECONDS = 3600
"""Nobody writes a file for so long: whoever began to, on another machine, is gone."""
FAULTS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
)
_HOST = re.sub(r"\W", "_", platform.node())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` in one step if all goes well, and is removed otherwise.

    Raises StorageError, naming `path`, if there is no room or no permission. `tidy` comes first.
    """
    # Two processes may be at it: one that was told to end, and one that takes over from it.
    partial = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path)
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask())  # As for any file; safetensors makes them private.
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except Exception as error:
        reason = storage_fault(error)
        if reason is None:
            raise
        raise StorageError(path, reason) from None


def tidy(path: Path) -> None:
    """Remove what earlier processes, killed while they wrote `path`, have left behind."""
    for stale in path.parent.glob(f"{glob.escape(path.name)}.*{SUFFIX}"):
        host, _, number = stale.name.removesuffix(SUFFIX).removeprefix(f"{path.name}.").rpartition("-")
        with contextlib.suppress(FileNotFoundError):
            dead = host == _HOST and not _lives(int(number))
            if dead or time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink()


def require_folder(folder: Path) -> Path:
    """`folder`, or what there is of the way to it. Raises SparrowError if that is a file."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise SparrowError(f"{folder}: cannot be written to: {there} is a file")
    return there


def require_writable(folder: Path, cure: str = "") -> None:
    """Raise SparrowError, with a `cure` if there is one, if `folder`, or where it is to be made, cannot be written to."""
    there = require_folder(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        reason = f"{there} is read-only, or belongs to somebody else"
        raise SparrowError("; ".join(filter(None, (f"{folder}: cannot be written to: {reason}", cure))))


def storage_fault(error: Exception) -> str | None:
    """What is wrong with the disk, if that is what an error says; safetensors has errors of its own."""
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno in FAULTS else None
    found = re.search(r"I/O error: (.*?)(?: \(os error \d+\))?$", str(error))
    return found[1].lower() if found else None


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except OSError as error:  # Somebody else's is not for us to ask.
        return error.errno == errno.EPERM
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
