"""Corrupted test images of a data set, in a file, and an analysis that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparrow.data import store
from sparrow.data.corruptions.making import corrupted
from sparrow.errors import SparrowError
from sparrow.files import corrupted as stored
from sparrow.files.headers import CORRUPTED_FORMAT, read_header
from sparrow.inference.subjects import Data
from sparrow.jobs import interruption
from sparrow.stages.corrupt import corrupt
from tests.data.test_corruption_archive import archive

ASKED = {"kinds": ["gaussian_noise", "contrast"], "severities": [5, 3], "samples": 30}


def told(**changes: Any) -> dict[str, Any]:
    return {"code": "test", "corruptions": ASKED | changes}


def make(data: Path, folder: Path, archives: list[Path] | None = None, **changes: Any) -> Path:
    path = folder / "corrupted.safetensors"
    corrupt(path, folder / "corrupted.cost.json", told(**changes), data, archives or [])
    return path


def test_each_kind_and_severity_is_there_of_the_first_test_images(digits: Path, tmp_path: Path) -> None:
    path, (part, about) = make(digits, tmp_path), store.read(digits, "test")
    assert read_header(path, CORRUPTED_FORMAT)["data"] == about.digest
    found = Data(digits, torch.device("cpu"), path).corrupted
    assert found.kinds == [("gaussian_noise", 3), ("gaussian_noise", 5), ("contrast", 3), ("contrast", 5)]
    assert len(found) == 30
    assert stored.read(path, stored.INDICES).tolist() == part.indices[:30].tolist()
    for kind, severity in found.kinds:
        images = found.images(kind, severity)
        expected = corrupted(part.pixels[:30].numpy(), 16, part.indices[:30].tolist(), kind, severity)
        assert (images * 255).round().to(torch.uint8).equal(torch.from_numpy(expected))
        # And the corrupted ones look like the others.
        assert (images - part.images[:30]).abs().mean() < 0.35


def test_more_images_are_the_same_and_others_behind_them(digits: Path, tmp_path: Path) -> None:
    few = stored.read(make(digits, tmp_path), "gaussian_noise/3")
    many = stored.read(make(digits, tmp_path, samples=50, kinds=["gaussian_noise"]), "gaussian_noise/3")
    assert (len(few), len(many)) == (30, 50)
    assert (many[:30] == few).all()


def test_a_job_that_was_stopped_goes_on_to_the_same_bytes(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(digits, tmp_path).read_bytes()
    (tmp_path / "stopped").mkdir()
    made: list[str] = []

    def until_contrast(pixels: np.ndarray, white: int, indices: Sequence[int], kind: str, severity: int) -> np.ndarray:
        made.append(kind)
        if made.count("contrast") == 1:
            raise interruption.Interrupted
        return corrupted(pixels, white, indices, kind, severity)

    monkeypatch.setattr("sparrow.stages.corrupt.corrupted", until_contrast)
    with pytest.raises(interruption.Interrupted):
        make(digits, tmp_path / "stopped")
    made.append("contrast")
    assert make(digits, tmp_path / "stopped").read_bytes() == whole
    # The noise was kept.
    assert made == ["gaussian_noise"] * 2 + ["contrast"] * 4


def test_images_of_another_data_set_or_changed_ones_are_refused(digits: Path, tmp_path: Path) -> None:
    path = make(digits, tmp_path)
    images = {("snow", 1): np.zeros((2, 1, 8, 8), np.uint8)}
    stored.write(tmp_path / "other.safetensors", images, np.arange(2), {"data": "f" * 64})
    with pytest.raises(SparrowError, match=r"other\.safetensors: made of another data set than .*digits\.safetensors"):
        _ = Data(digits, torch.device("cpu"), tmp_path / "other.safetensors").corrupted
    pixels = stored.read(path, "contrast/3").tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(pixels)] ^= 1
    path.write_bytes(content)
    with pytest.raises(SparrowError, match=r"corrupted\.safetensors: its content is not what its header says"):
        stored.read(path, "contrast/3")
    with pytest.raises(LookupError, match="needs"):
        _ = Data(digits, torch.device("cpu")).corrupted


def test_the_archives_images_are_taken_over(digits: Path, tmp_path: Path) -> None:
    part = store.read(digits, "test")[0]
    count = int(part.indices.max()) + 1
    labels = np.zeros(count, np.uint8)
    labels[part.indices] = part.labels
    images = np.zeros((5 * count, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(5 * count) % 251
    source = archive(tmp_path, frost=images, labels=np.tile(labels, 5))
    asked = {"kinds": ["frost"], "severities": [2], "file": str(source)}
    found = stored.read(make(digits, tmp_path, [source], **asked), "frost/2")
    assert found[:, 0, 0, 0].tolist() == ((count + part.indices[:30]) % 251).tolist()
    with pytest.raises(SparrowError, match=r"no such file, and corrupted images are to be read from it"):
        make(digits, tmp_path, [], **asked)
