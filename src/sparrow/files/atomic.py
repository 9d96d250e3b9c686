"""Atomic writing: a file is complete or absent, whatever interrupts its writing."""

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
"""Age from which another machine's partial file is removed: no file takes so long to write, so its writer has ended."""
STORAGE_ERRORS = (
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
    """Yield a temporary path to write to; it replaces `path` in one step when the context ends, or is removed after an error.

    Raises StorageError, naming `path`, if the disk is full or permission is missing. Calls `remove_partial_files` first.
    """
    # Two processes may write `path` at once: a job that is ending after a signal, and the one that replaces it.
    partial = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_files(path)
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


def remove_partial_files(path: Path) -> None:
    """Remove the partial files of processes that were killed while they wrote `path`."""
    for stale in path.parent.glob(f"{glob.escape(path.name)}.*{SUFFIX}"):
        host, _, number = stale.name.removesuffix(SUFFIX).removeprefix(f"{path.name}.").rpartition("-")
        with contextlib.suppress(FileNotFoundError):
            dead = host == _HOST and not _lives(int(number))
            if dead or time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink()


def require_folder(folder: Path) -> Path:
    """`folder` if it exists, else the nearest of its parents that does. Raises SparrowError if that is a file."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise SparrowError(f"{folder}: cannot be written to: {there} is a file")
    return there


def require_writable(folder: Path, cure: str = "") -> None:
    """Raise SparrowError, ending with `cure`, if `folder`, or the nearest parent that exists, is not writable."""
    there = require_folder(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        reason = f"{there} is read-only, or belongs to somebody else"
        raise SparrowError("; ".join(filter(None, (f"{folder}: cannot be written to: {reason}", cure))))


def storage_fault(error: Exception) -> str | None:
    """The disk's fault, such as `no space left on device`, that an OSError or an error of safetensors reports; else None."""
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno in STORAGE_ERRORS else None
    found = re.search(r"I/O error: (.*?)(?: \(os error \d+\))?$", str(error))
    return found[1].lower() if found else None


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except OSError as error:  # EPERM: it runs, as another user.
        return error.errno == errno.EPERM
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
