"""The user's own files behind a data set, and what preparing them takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sparrow.errors import SparrowError
from sparrow.study import job_specs, sources
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.workflow.conftest import TINY

OWN = {"kind": "image-folder", "folder": "images", "size": 8, "channels": 1, "classes": 2}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def _study(**dataset) -> Study:
    return load_study(TINY | {"datasets": {"own": OWN | dataset}})


def _put(path: str, content: bytes = b"image") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def test_what_is_not_there_is_named_with_its_key() -> None:
    params = _study(folder="images", test_folder="~/test.zip", extra="extra.npz").datasets["own"]
    home = os.path.expanduser("~")
    todo = ["datasets.own.folder", "datasets.own.test_folder", "datasets.own.extra"]
    for key, path, put in (
        ("folder", "images", "images/a/1.png"),
        ("test_folder", f"{home}/test.zip", f"{home}/test.zip"),
        ("extra", "extra.npz", "extra.npz"),
    ):
        with pytest.raises(SparrowError) as caught:
            sources.require("own", params)
        told = str(caught.value).splitlines()
        assert told[0] == f"datasets.own.{key}: {path}: no such file or folder, and images are to be read from it"
        # And those that come after it.
        assert [line.split(": ")[0] for line in told] == todo
        todo.pop(0)
        _put(put)
    sources.require("own", params)


def test_files_are_those_that_are_there() -> None:
    params = _study(folder="./images.zip", test_folder="test.zip", extra="extra.npz").datasets["own"]
    assert sources.files(params) == []
    _put("images.zip")
    assert sources.files(params) == ["images.zip"]
    for path in ("test.zip", "extra.npz"):
        _put(path)
    assert sources.files(params) == ["images.zip", "test.zip", "extra.npz"]


def test_what_is_checked_against_a_publishers_sum_does_not_change() -> None:
    _put("data/cifar-10-binary.tar.gz")
    params = load_study(TINY | {"datasets": {"cifar10": None}}).datasets["cifar10"]
    assert (sources.files(params), sources.folders(params)) == ([], {})


def _add() -> None:
    _put("images/a/3.png")


def _remove() -> None:
    Path("images/b/1.png").unlink()


def _rename() -> None:
    Path("images/b/1.png").rename("images/a/1.png")


def _replace() -> None:
    _put("images/b/1.png", b"another image")


@pytest.mark.parametrize("change", [_add, _remove, _rename, _replace], ids=lambda change: change.__name__)
def test_a_change_inside_a_folder_changes_the_spec(change) -> None:
    study = _study(test_folder="elsewhere")
    assert "folders" not in job_specs.data_spec(study, "own").model_dump()
    for path in ("images/a/0.png", "images/b/1.png"):
        _put(path)
    before = job_specs.data_spec(study, "own")
    assert list(before.folders) == ["images"]
    change()
    assert job_specs.data_spec(study, "own") != before


def test_what_says_nothing_of_the_images_changes_no_spec() -> None:
    _put("images/a/0.png")
    before = job_specs.data_spec(_study(), "own")
    _put("images/a/.DS_Store")
    _put("images/.cache/0.png")
    Path("images/a/0.png").touch()
    assert job_specs.data_spec(_study(), "own") == before


def test_a_study_of_no_own_files_has_the_spec_it_had() -> None:
    assert job_specs.data_spec(load_study(TINY), "digits").model_dump().keys() == {"dataset", "code"}


def test_memory_grows_with_the_images() -> None:
    digits, cifar = (load_study(TINY | {"datasets": {kind: {"extra": "extra.npz"}}}) for kind in ("digits", "cifar10"))
    before = job_specs.data_memory(cifar, "cifar10")  # Of extra images that are not there, the job will tell.
    assert job_specs.extra_memory(cifar, "cifar10") == 0
    assert before > job_specs.data_memory(digits, "digits")
    np.savez_compressed("extra.npz", image=np.zeros((2**14, 3, 32, 32), np.uint8), label=np.zeros(2**14, np.uint8))
    assert job_specs.extra_memory(cifar, "cifar10") == 48
    assert job_specs.data_memory(cifar, "cifar10") == before + 48


def _change_behind_the_link() -> None:
    _put("elsewhere/1.png", b"another image")


def _vanish_behind_the_link() -> None:
    Path("elsewhere/1.png").unlink()


def _add_behind_the_linked_folder() -> None:
    _put("elsewhere/more/3.png")


@pytest.mark.parametrize(
    "change", [_change_behind_the_link, _vanish_behind_the_link, _add_behind_the_linked_folder], ids=lambda one: one.__name__
)
def test_a_change_behind_a_link_changes_the_spec(change) -> None:
    for path in ("images/a/0.png", "elsewhere/1.png", "elsewhere/more/2.png"):
        _put(path)
    Path("images/b").mkdir()
    Path("images/b/1.png").symlink_to(Path("elsewhere/1.png").resolve())
    Path("images/b/more").symlink_to(Path("elsewhere/more").resolve(), target_is_directory=True)
    Path("images/b/round").symlink_to(Path("images").resolve(), target_is_directory=True)
    before = job_specs.data_spec(_study(), "own")
    assert job_specs.data_spec(_study(), "own") == before
    change()
    assert job_specs.data_spec(_study(), "own") != before
