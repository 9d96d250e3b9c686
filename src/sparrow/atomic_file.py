"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparrow.errors import StorageError

SUFFIX = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` in one step if all goes well, and is removed otherwise.

    Raises StorageError, naming `path`, if there is no room or no permission. What an earlier process, killed while it
    wrote the same file, has left behind is removed.
    """
    # The process's number keeps two of them apart: the one that was told to end, and the one that takes over from it.
    partial = path.with_name(f"{path.name}.{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f"{_literal(path.name)}.*{SUFFIX}"):
            stale.unlink(missing_ok=True)
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
        raise StorageError(f"{path}: cannot be written: {reason}; run again once that is mended") from None


def require_writable(folder: Path) -> None:
    """Raise StorageError if `folder`, or where it is to be made, cannot be written to."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise StorageError(f"{folder}: cannot be written to: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"{folder}: cannot be written to: {there} is read-only, or belongs to somebody else")


def storage_fault(error: Exception) -> str | None:
    """What is wrong with the disk, if that is what an error says; safetensors has errors of its own."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    found = re.search(r"I/O error: (.*?)(?: \(os error \d+\))?$", str(error))
    return found[1].lower() if found else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _literal(name: str) -> str:
    """A name as a glob pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
