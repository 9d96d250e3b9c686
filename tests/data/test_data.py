"""Data sets: the split, the parts, and the file on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from sparrow import catalogue
from sparrow.data import store
from sparrow.data.split import HeldOut, SplitParams, hold_out, sizes, split
from sparrow.datasets import digits
from sparrow.errors import SparrowError
from sparrow.files.headers import read_header
from sparrow.stages.data import prepare_data
from tests.data import miniatures
from tests.specs import data_spec

PARTS = ("train", "validation", "test")
SIZES = [40, 60, 80, 20]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))


def test_split_is_complete_and_disjoint() -> None:
    parts = split(LABELS, SplitParams())
    assert sorted(np.concatenate([parts[name] for name in PARTS])) == list(range(len(LABELS)))


@pytest.mark.parametrize(("part", "share"), [("train", 0.65), ("validation", 0.15), ("test", 0.2)])
def test_split_is_stratified(part: str, share: float) -> None:
    # The sizes divide evenly, so there is nothing to round.
    assert np.bincount(LABELS[split(LABELS, SplitParams())[part]]).tolist() == [round(share * size) for size in SIZES]


@pytest.mark.parametrize("part", PARTS)
def test_split_is_decided_by_its_seed(part: str) -> None:
    first, again, other = (split(LABELS, SplitParams(split_seed=seed))[part] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("whole", [200, 201, 1797])
def test_sizes_are_known_before_images_are_read(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(whole) % 4
    assert sizes(HeldOut()) is None
    monkeypatch.setattr(HeldOut, "images", (whole, 77))
    found = hold_out(labels, HeldOut())
    assert sizes(HeldOut()) == (len(found["train"]), len(found["validation"]), 77)
    monkeypatch.setattr(SplitParams, "images", (whole, None), raising=False)
    assert sizes(SplitParams()) == tuple(len(split(labels, SplitParams())[name]) for name in PARTS)


def test_split_leaves_images_to_train_on() -> None:
    with pytest.raises(ValidationError, match=r"validation \+ test is 1, must be below 1"):
        SplitParams(validation=0.5, test=0.5)


@pytest.mark.parametrize("kind", catalogue.kinds("datasets"))
def test_data_set_keeps_the_promises_of_its_room(kind: str, tmp_path: Path, monkeypatch) -> None:
    entry = catalogue.load("datasets", kind)
    params = entry.Params(**_parameters(kind, tmp_path, monkeypatch))
    source, about = entry.load(params), entry.describe(params)
    for images, labels in (part for part in (source.train, source.test) if part is not None):
        assert images.shape == (len(labels), *about.shape)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert images.max() == source.white
        assert set(labels) == set(range(about.classes))
    if params.images is not None:
        assert (params.images[1] is None) == (source.test is None)


def _parameters(kind: str, folder: Path, monkeypatch) -> dict:
    """What has no default, or has to be there."""
    if kind in miniatures.PUBLIC:
        miniatures.write(kind, folder, monkeypatch)
        return {"root": str(folder)}
    if kind != "image-folder":
        return {}
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        Image.new("RGB", (4, 4), "white").save(folder / name / "0.png")
    return {"folder": str(folder), "size": 4, "classes": 2}


def test_digits_are_complete() -> None:
    source = digits.load(digits.Params())
    assert (source.train.images.shape, source.test, source.white) == ((1797, 1, 8, 8), None, 16)
    assert (len(source.train.images), None) == digits.Params.images


@pytest.mark.parametrize("name", PARTS)
def test_stored_images_are_the_source_scaled_to_one(digits: Path, name: str) -> None:
    (images, labels), _, white, _ = catalogue.load("datasets", "digits").load(None)
    part, _ = store.read(digits, name)
    assert part.images.dtype == torch.float32
    assert torch.equal(part.images * white, torch.from_numpy(images[part.indices]).float())
    assert part.labels.tolist() == labels[part.indices].tolist()
    assert (part.images.min(), part.images.max()) == (0, 1)


def test_header_describes_the_images(digits: Path) -> None:
    _, header = store.read(digits, "train")
    assert (header.shape, header.classes, header.white) == ((1, 8, 8), 10, 16)


def test_first_samples_are_nested(digits: Path) -> None:
    part, _ = store.read(digits, "test")
    small, large = part.first(20), part.first(50)
    assert small.indices.tolist() == large.indices[:20].tolist()
    assert torch.equal(small.images, large.images[:20])
    assert len(part.first(None)) == len(part)


@pytest.mark.parametrize("samples", [10, 50, 150])
def test_first_samples_are_stratified(digits: Path, samples: int) -> None:
    part, _ = store.read(digits, "test")
    assert part.first(samples).labels.bincount().tolist() == [samples // 10] * 10


def test_split_that_leaves_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SparrowError, match="validation and test leave too few images"):
        prepare_data(tmp_path / "data", tmp_path / "cost", data_spec("digits", test=0.001))
    assert list(tmp_path.iterdir()) == []


def test_first_samples_are_a_random_subset(digits: Path) -> None:
    # In the source's own order the first images would be a few writers' digits.
    part, _ = store.read(digits, "test")
    assert part.first(50).indices.tolist() != part.indices.sort().values[:50].tolist()


def test_file_is_the_same_to_the_byte(digits: Path, tmp_path: Path) -> None:
    prepare_data(tmp_path / "again", tmp_path / "cost.json", data_spec("digits"))
    assert (tmp_path / "again").read_bytes() == digits.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"again", "cost.json"}


def test_header_says_where_the_images_come_from(digits: Path, tmp_path: Path) -> None:
    spec = data_spec("digits", test=0.2) | {"code": "abc"}
    prepare_data(tmp_path / "data", tmp_path / "cost.json", spec)
    header = read_header(tmp_path / "data", store.FORMAT)
    assert (header["dataset"], header["code"]) == (spec["dataset"], "abc")
    assert header["parts"] == {"train": 1167, "validation": 270, "test": 360}
    assert header["versions"].keys() == {"python", "sparrow", "numpy", "scikit-learn"}
    # Whose the code was is no property of the images.
    assert header["digest"] == store.read(digits, "test")[1].digest


def _stored(images: np.ndarray, labels: np.ndarray, parts: dict) -> dict:
    return {name: store.Stored(images[place], labels[place], place) for name, place in parts.items()}


@pytest.mark.parametrize("changed", ["nothing", "pixel", "label", "split"])
def test_digest_is_that_of_the_content(tmp_path: Path, changed: str) -> None:
    images, labels = np.zeros((6, 1, 2, 2), np.uint8), np.array([0, 1, 0, 1, 0, 1])
    parts = {"train": np.array([0, 1, 2]), "test": np.array([3, 4, 5])}
    store.write(tmp_path / "before", _stored(images, labels, parts), 16, 2, "all")
    if changed == "pixel":
        images[0, 0, 0, 0] = 1
    elif changed == "label":
        labels[0] = 1
    elif changed == "split":
        parts = {"train": np.array([0, 1, 3]), "test": np.array([2, 4, 5])}
    store.write(tmp_path / "after", _stored(images, labels, parts), 16, 2, "all")
    before, after = (store.read(tmp_path / name, "train")[1].digest for name in ("before", "after"))
    assert (before == after) == (changed == "nothing")


def _truncated(path: Path, digits: Path) -> None:
    path.write_bytes(digits.read_bytes()[:5000])


def _foreign(path: Path, digits: Path) -> None:
    save_file({"test/images": torch.zeros(1)}, path)


def _text(path: Path, digits: Path) -> None:
    path.write_text("index,label\n0,1\n")


def _missing(path: Path, digits: Path) -> None:
    pass


def _garbled(path: Path, digits: Path) -> None:
    save_file({"test/images": torch.zeros(1)}, path, {"sparrow": "{"})


@pytest.mark.parametrize("spoil", [_truncated, _foreign, _text, _missing, _garbled])
def test_bad_file_is_named_in_one_line(tmp_path: Path, digits: Path, spoil) -> None:
    path = tmp_path / "spoiled.safetensors"
    spoil(path, digits)
    with pytest.raises(SparrowError) as caught:
        store.read(path, "test")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_digits_are_split_as_ever(digits: Path) -> None:
    # By this every number of the default study hangs together with those of earlier versions.
    assert store.read(digits, "test")[1].digest[:16] == "3b4964988e8a9800"
