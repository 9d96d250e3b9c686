"""The published archive of corrupted images: read where it lies, and refused in a line where it is another."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparrow.data.corruptions.archive import Archive
from sparrow.errors import SparrowError

LABELS = np.array([3, 1, 4, 1], np.uint8)
SHAPE = (3, 2, 2)


def archive(folder: Path, **arrays: np.ndarray) -> Path:
    """An archive of these arrays."""
    path = folder / "CIFAR-10-C.tar"
    with tarfile.open(path, "w") as file:
        for name, values in arrays.items():
            stream = io.BytesIO()
            np.save(stream, values)
            about = tarfile.TarInfo(f"CIFAR-10-C/{name}.npy")
            about.size = len(stream.getvalue())
            stream.seek(0)
            file.addfile(about, stream)
    return path


def numbered() -> np.ndarray:
    """Images (20, 2, 2, 3) of 4 images at 5 severities; the first value of each is its row."""
    found = np.zeros((20, 2, 2, 3), np.uint8)
    found[:, 0, 0, 0], found[:, 1, 0, 2] = range(20), 7
    return found


def test_rows_are_those_of_the_severity_and_the_image(tmp_path: Path) -> None:
    source = Archive(archive(tmp_path, snow=numbered(), labels=np.tile(LABELS, 5)))
    found = source.images("snow", 3, np.array([2, 0]), SHAPE)
    assert (found.shape, found[:, 0, 0, 0].tolist()) == ((2, 3, 2, 2), [10, 8])
    assert (found[:, 2, 1, 0] == 7).all()
    source.require_labels(np.array([2, 0]), np.array([4, 3]))
    with pytest.raises(SparrowError, match=r"CIFAR-10-C\.tar: is not of this data set: its labels are others"):
        source.require_labels(np.array([2, 0]), np.array([3, 4]))


WRONG: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "a missing kind": ({"fog": numbered()}, "has no snow.npy, but fog.npy"),
    "other images": ({"snow": numbered()[:, :1]}, "snow.npy has uint8 (20, 1, 2, 3); valid: uint8 (n, 2, 2, 3)"),
    "other numbers": ({"snow": numbered().astype(float)}, "snow.npy has float64 (20, 2, 2, 3); valid: uint8"),
    "too few": ({"snow": numbered()[:10]}, "snow.npy has 10 rows; valid: 5 for each of 3 images, or of more"),
    "severities that are not all there": ({"snow": numbered()[:19]}, "snow.npy has 19 rows; valid: 5 for each of"),
    "objects": ({"snow": np.array([None] * 20)}, "snow.npy cannot be read (Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("arrays", "words"), WRONG.values(), ids=WRONG)
def test_what_is_not_the_published_archive_is_refused_in_a_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    path = archive(tmp_path, **arrays)
    with pytest.raises(SparrowError) as caught:
        Archive(path).images("snow", 3, np.array([2, 0]), SHAPE)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda text: text[:700], lambda text: b"no archive", lambda text: b""])
def test_what_is_no_archive_is_refused_in_a_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path, snow=numbered())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SparrowError) as caught:
        Archive(path).images("snow", 3, np.array([2, 0]), SHAPE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
