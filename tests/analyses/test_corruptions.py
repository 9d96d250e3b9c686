"""Accuracy under common corruptions: by hand, and of a network that has learned something."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from sparrow.analyses import corruptions
from sparrow.data import store
from sparrow.files import analysis_table, checkpoint
from sparrow.files import corrupted as stored
from sparrow.stages.analyse import analyse
from sparrow.stages.corrupt import corrupt
from tests.analyses.jobs import tables


def test_the_mean_counts_each_image_once() -> None:
    none = np.array([True, True, True, False])
    snow, fog = np.array([True, True, False, False]), np.array([True, False, False, False])
    rows = {row[:2]: row[2:] for row in corruptions.accuracies(none, {3: {"snow": snow, "fog": fog}})}
    assert list(rows) == [("none", 0), ("snow", 3), ("fog", 3), ("mean", 3), ("mean", None)]
    assert rows["none", 0][0] == 0.75
    wilson = stats.binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert rows["snow", 3] == pytest.approx((0.5, wilson.low, wilson.high, 4))
    # Averages of the images: 1, 1/2, 0, 0, whose interval goes beyond what an accuracy can be.
    assert rows["mean", 3] == (0.375, 0, 1, 4)
    assert rows["mean", None] == rows["mean", 3]
    many = {"snow": np.tile(snow, 25), "fog": np.tile(fog, 25)}
    error = stats.t.ppf(0.975, 99) * np.std(np.tile([1, 0.5, 0, 0], 25), ddof=1) / 10
    assert corruptions.accuracies(np.tile(none, 25), {3: many})[-1][2:5] == pytest.approx((0.375, 0.375 - error, 0.375 + error))


def test_over_severities_an_image_has_one_average() -> None:
    right, wrong = np.array([True, True]), np.array([False, False])
    rows = corruptions.accuracies(right, {1: {"fog": right}, 5: {"fog": wrong}})
    # The same for both: nothing varies between images.
    assert rows[-1] == ("mean", None, 0.5, 0.5, 0.5, 2)


def test_of_one_image_there_is_no_interval_of_the_mean() -> None:
    (*_, mean) = corruptions.accuracies(np.array([True]), {1: {"fog": np.array([True])}})
    assert mean[2] == 1
    assert math.isnan(mean[3])


def test_a_networks_answers_are_counted(digits: Path, dense: Path, tmp_path: Path) -> None:
    path = tmp_path / "corrupted.safetensors"
    asked = {"kinds": ["gaussian_noise", "contrast"], "severities": [5], "samples": 60}
    corrupt(path, tmp_path / "c.json", {"code": "test", "corruptions": asked}, digits, [])
    spec = {"code": "test", "seed": 0, "model": {"kind": "cnn-small"}, "analysis": {"kind": "corruptions", "batch_size": 7}}
    output = tmp_path / "corruptions.csv"
    analyse(output, tmp_path / "cost.json", spec | {"corruptions": asked}, digits, [dense], [], corrupted=[path])
    found = analysis_table.read(output, tables("corruptions"))
    part, model = store.read(digits, "test")[0].first(60), checkpoint.load(dense).model.eval()
    assert [row[:2] for row in found["corruptions"]] == [
        *(["none", "0"], ["gaussian_noise", "5"], ["contrast", "5"], ["mean", "5"], ["mean", ""])
    ]
    names = tables("corruptions")["images"]
    rows = [dict(zip(names, row, strict=True)) for row in found["images"]]
    assert [int(row["image"]) for row in rows] == part.indices.tolist()
    clean = model(part.images).argmax(dim=1)
    assert [int(row["none"]) for row in rows] == clean.tolist()
    assert {row["snow"] for row in rows} == {""}
    contrast = torch.from_numpy(stored.read(path, "contrast/5")).float() / 255
    answers = model(contrast).argmax(dim=1)
    assert [int(row["contrast"]) for row in rows] == answers.tolist()
    accuracy = {row[0]: float(row[2]) for row in found["corruptions"]}
    assert accuracy["contrast"] == pytest.approx(float((answers == part.labels).float().mean()), abs=1e-6)
    assert accuracy["none"] > accuracy["contrast"]
    assert accuracy["mean"] == pytest.approx((accuracy["contrast"] + accuracy["gaussian_noise"]) / 2, abs=1e-5)


def test_the_summary_is_the_mean_over_all() -> None:
    table = pd.DataFrame(
        [("none", 0, 0.9, 0.8, 1.0), ("mean", 3, 0.5, 0.4, 0.6), ("mean", np.nan, 0.6, 0.5, 0.7)],
        columns=["kind", "severity", "accuracy", "low", "high"],
    )
    assert corruptions.summary(table) == {"accuracy": 0.6, "accuracy_low": 0.5, "accuracy_high": 0.7}
