"""A data set's file that gives something else than it describes is refused before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparrow.data import store
from sparrow.data.source import Images, Source
from sparrow.datasets import digits
from sparrow.errors import SparrowError
from sparrow.stages.data import prepare_data
from tests.specs import data_spec

PLAIN = digits.load(digits.Params())
COUNT = len(PLAIN.train.labels)


def images(change: Callable[[np.ndarray], object]) -> Source:
    return PLAIN._replace(train=PLAIN.train._replace(images=change(PLAIN.train.images)))


def labels(change: Callable[[np.ndarray], object]) -> Source:
    return PLAIN._replace(train=PLAIN.train._replace(labels=change(PLAIN.train.labels)))


IMAGES = "as images, expected uint8 (n, 1, 8, 8), as describe says (Source.train)"
CLASSES = "expected 0 to 9, as describe says (Source.train)"
LABELS = "as labels, expected int64 (n,) (Source.train)"
WRONG = {
    "labels too few": (labels(lambda found: found[3:]), f"{COUNT - 3} labels for {COUNT} images (Source.train)"),
    "floats up to 1": (images(lambda found: (found / 16).astype(np.float32)), f"float32 ({COUNT}, 1, 8, 8) {IMAGES}"),
    "channels last": (images(lambda found: found.transpose(0, 2, 3, 1)), f"uint8 ({COUNT}, 8, 8, 1) {IMAGES}"),
    "no channels": (images(lambda found: found[:, 0]), f"uint8 ({COUNT}, 8, 8) {IMAGES}"),
    "a list": (images(np.ndarray.tolist), f"a value of type list {IMAGES}"),
    "labels from 1": (labels(lambda found: found + 1), f"labels from 1 to 10, {CLASSES}"),
    "labels below 0": (
        labels(lambda found: found - 1),
        f"labels from -1 to 8, {CLASSES}",
    ),
    "float labels": (labels(lambda found: found.astype(float)), f"float64 ({COUNT},) {LABELS}"),
    "one-hot": (labels(lambda found: np.eye(10, dtype=np.int64)[found]), f"int64 ({COUNT}, 10) {LABELS}"),
    "beyond white": (PLAIN._replace(white=15), "a pixel of 16, above Source.white, which is 15 (Source.train)"),
    "white of nothing": (PLAIN._replace(white=0), "Source.white 0, expected the value of a white pixel, 1 to 255"),
    "a pair": (tuple(PLAIN.train), "a value of type tuple, expected sparrow.data.source.Source"),
    "a pair inside": (
        PLAIN._replace(train=tuple(PLAIN.train)),
        "a value of type tuple, expected sparrow.data.source.Images (Source.train)",
    ),
    "nothing": (None, "a value of type NoneType, expected sparrow.data.source.Source"),
    "a bad test set": (
        PLAIN._replace(test=Images(PLAIN.train.images, PLAIN.train.labels[1:])),
        f"{COUNT - 1} labels for {COUNT} images (Source.test)",
    ),
}


@pytest.mark.parametrize(("source", "fault"), WRONG.values(), ids=WRONG)
def test_a_source_that_is_not_as_described_is_refused(source: object, fault: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sparrow.datasets.digits.load", lambda params: source)
    with pytest.raises(SparrowError) as caught:
        prepare_data(tmp_path / "data.safetensors", tmp_path / "cost.json", data_spec("digits"))
    assert str(caught.value) == f"datasets.digits: load gives {fault}"
    assert list(tmp_path.iterdir()) == []


def test_a_class_without_images_is_told_of(tmp_path: Path, monkeypatch, capsys) -> None:
    kept = PLAIN.train.labels != 7
    fewer = PLAIN._replace(train=Images(PLAIN.train.images[kept], PLAIN.train.labels[kept]))
    monkeypatch.setattr("sparrow.datasets.digits.load", lambda params: fewer)
    prepare_data(tmp_path / "data.safetensors", tmp_path / "cost.json", data_spec("digits"))
    assert "warning: datasets.digits: no training image of the classes [7]\n" in capsys.readouterr().out
    assert store.read(tmp_path / "data.safetensors", "train")[1].classes == 10
