"""The published archive of corrupted CIFAR images, a tar file that is read where it lies."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

from sparrow.errors import SparrowError

SEVERITIES = 5
LABELS = "labels"


class Archive:
    """The arrays of an archive: of each kind, `FOLDER/KIND.npy` with the images (5 * n, h, w, c), uint8, of severity 1, then of
    severity 2, and so on; and `labels.npy`, the labels (5 * n,) of these."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def images(self, kind: str, severity: int, indices: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Images (n, c, h, w), uint8, of a `shape` (c, h, w), of the test images with those `indices`.

        Raises SparrowError, naming the file, if it has none such.
        """
        found = self._array(kind)
        channels, height, width = shape
        if found.dtype != np.uint8 or found.shape[1:] != (height, width, channels):
            raise SparrowError(
                f"{self._path}: {kind}.npy has {found.dtype} {found.shape}; valid: uint8 (n, {height}, {width}, {channels})"
            )
        return np.moveaxis(found[self._rows(found, kind, severity, indices)], -1, 1)

    def require_labels(self, indices: np.ndarray, labels: np.ndarray) -> None:
        """Raise SparrowError, naming the file, unless the images with those `indices` have these `labels` there as well."""
        found = self._array(LABELS)
        own = found[self._rows(found, LABELS, 1, indices)]
        if own.shape != labels.shape or (own != labels).any():
            raise SparrowError(f"{self._path}: is not of this data set: its labels are others; valid: the test images' own")

    def _rows(self, found: np.ndarray, name: str, severity: int, indices: np.ndarray) -> np.ndarray:
        each = len(found) // SEVERITIES
        if len(found) % SEVERITIES or indices.max() >= each:
            valid = f"{SEVERITIES} for each of {indices.max() + 1} images, or of more"
            raise SparrowError(f"{self._path}: {name}.npy has {len(found)} rows; valid: {valid}")
        return (severity - 1) * each + indices

    def _array(self, name: str) -> np.ndarray:
        try:
            with tarfile.open(self._path) as archive:
                members = {Path(member.name).name: member for member in archive if member.isfile()}
                if f"{name}.npy" not in members:
                    there = ", ".join(sorted(members)) or "nothing"
                    raise SparrowError(f"{self._path}: has no {name}.npy, but {there}")
                stream = archive.extractfile(members[f"{name}.npy"])
                assert stream is not None, "it is a file"
                # What numpy takes for a file on disk it reads by its number, which a member has none of.
                return np.asarray(np.load(io.BytesIO(stream.read()), allow_pickle=False))
        except (OSError, tarfile.TarError, ValueError, EOFError) as error:
            said = " ".join(str(error).split())
            raise SparrowError(f"{self._path}: {name}.npy cannot be read ({said}); valid: the published archive") from None
