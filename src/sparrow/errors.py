"""The errors a user can act on."""

from __future__ import annotations

from pathlib import Path


class SparrowError(Exception):
    """Bad input or a broken promise: one line that names the key or file, the value and what would be valid."""


class ConfigError(SparrowError):
    """The study's configuration is not valid."""


class CheckpointError(SparrowError):
    """A file is not a checkpoint, or not the one that was expected."""


class NetworkError(SparrowError):
    """One network cannot be used, and another run would not change that: it diverged, or its layers cannot be bounded."""


class InheritedError(NetworkError):
    """The network to start from, or to evaluate, is itself recorded as failed."""


class StorageError(SparrowError):
    """A file cannot be written: the disk is full, or permission is missing."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: cannot be written: {reason}; run again once that is mended")
        self.path, self.reason = path, reason


class ContradictionError(SparrowError):
    """Two results that cannot both be true, such as a sample both verified and broken."""
