"""Excess loss by class: by hand, and against shuffled classes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sparrow.analyses import excess_loss
from sparrow.analyses.excess_loss import Params, by_chance, by_class
from sparrow.files.paths import outputs_of
from sparrow.stages.analyse import analyse
from sparrow.stages.outputs import write_outputs

LABELS = torch.tensor([0, 0, 2, 2, 2])


def logits(*right: float) -> Tensor:
    """Logits of three classes under which each of LABELS has that probability, and the next class the rest."""
    found = torch.full((len(right), 3), 1e-12, dtype=torch.float64)
    for place, (label, share) in enumerate(zip(LABELS.tolist(), right, strict=True)):
        found[place, label], found[place, (label + 1) % 3] = share, 1 - share
    return found.log()


def test_the_excess_loss_of_a_class_by_hand() -> None:
    rows = by_class(logits(0.8, 0.8, 0.6, 0.6, 0.6), logits(0.4, 0.2, 0.6, 0.6, 0.6), LABELS)
    table = pd.DataFrame(rows, columns=Params.tables["excess-loss"]).set_index("class")
    # Nobody is of the class 1.
    assert table["images"].to_dict() == {0: 2, 2: 3}
    assert table["dense_loss"].tolist() == pytest.approx([-math.log(0.8), -math.log(0.6)])
    # Half of log 2 and of log 4.
    assert table["excess_loss"].tolist() == pytest.approx([1.5 * math.log(2), 0], abs=1e-9)
    assert table[["dense_recall", "pruned_recall"]].to_numpy().tolist() == [[1, 0], [1, 1]]
    # Student's t of one degree of freedom is 12.706; the standard error is half the difference.
    assert table.loc[0, "high"] == pytest.approx((1.5 + 12.706 / 2) * math.log(2), rel=1e-4)
    assert excess_loss.summary(table) == pytest.approx({"violation": 1.5 * math.log(2), "recall_spread": 1})


def test_a_single_image_has_no_interval() -> None:
    (row,) = by_class(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([1]))
    assert row[:2] == (1, 1)
    assert math.isnan(row[5])


def test_shuffled_classes_by_hand() -> None:
    # Of six ways to name two of four images the first class, two give a spread of 3, the others of 0.
    chance, p = by_chance(np.array([3.0, 3, 0, 0]), np.array([0, 0, 1, 1]), 6000)
    assert (chance, p) == pytest.approx((1, 1 / 3), abs=0.06)
    assert by_chance(np.zeros(9), np.arange(9) % 3, 150) == (0, 1)


def test_a_class_that_pays_more_stands_out_of_the_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 500)
    labels = np.arange(500) % 10
    chance, p = by_chance(noise, labels, 1000)
    # Ten means of fifty: the range of ten normal numbers is 3.08 on average.
    assert chance == pytest.approx(3.08 / 50**0.5, rel=0.05)
    assert p > 0.05
    assert by_chance(noise + (labels == 3), labels, 1000)[1] == pytest.approx(1 / 1001)


def test_a_network_has_no_excess_over_itself(dense: Path, digits: Path, tmp_path: Path) -> None:
    network = tmp_path / "dense.safetensors"
    network.write_bytes(dense.read_bytes())
    common = {"code": "test", "model": {"kind": "cnn-small"}}
    config = {"draws": 1, "batch_size": 64, "samples": 80}
    write_outputs(network, digits, outputs_of(network), tmp_path / "outputs.cost.json", common | config)
    spec = common | {"analysis": {"kind": "excess-loss"}, "seed": 0, "outputs": config}
    files = {"output": tmp_path / "excess-loss.csv", "cost": tmp_path / "cost.json", "data": digits}
    analyse(**files, spec=spec, networks=[network], dense=[network], outputs=[outputs_of(network)])
    table = pd.read_csv(tmp_path / "excess-loss.csv").set_index("table")
    assert (table.loc["excess-loss", "excess_loss"] == 0).all()
    assert table.loc["excess-loss", "images"].sum() == table.loc["violation", "images"] == 80
    assert table.loc["violation", ["violation", "by_chance", "p"]].tolist() == [0, 0, 1]


def test_the_figure_shows_classes_and_their_spread(tmp_path: Path) -> None:
    rows, spreads = [], []
    for seed in (0, 1):
        who = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "method": "lwm", "seed": seed}
        for ratio in (0.5, 0.9):
            own = who | {"ratio": ratio, "stage": "finetuned"}
            found = by_class(logits(0.8, 0.8, 0.6, 0.6, 0.6), logits(0.4, 0.2, 0.6, ratio, 0.6), LABELS)
            rows += [own | dict(zip(Params.tables["excess-loss"], row, strict=True)) for row in found]
            values = (5, 2, 1.0 + seed, 0.5, 0.01, 0.1, 0.2)
            spreads.append(own | dict(zip(Params.tables["violation"], values, strict=True)))
    spec = {"code": "test", "dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "stage": "finetuned"}
    spec |= {"threats": {"benign": {"norm": "linf", "eps": 0.1}}}
    files = [tmp_path / "excess-loss.csv", tmp_path / "violation.csv"]
    pictures = []
    for shown in (rows, rows, rows[1:], []):
        for file, table in zip(files, (shown, spreads if shown else []), strict=True):
            columns = list(rows[0] if file is files[0] else spreads[0])
            pd.DataFrame(table, columns=columns).to_csv(file, index=False)
        excess_loss.draw(files, tmp_path / "a.svg", tmp_path / "a.png", spec)
        pictures.append((tmp_path / "a.svg").read_bytes())
    assert pictures[0] == pictures[1]
    # A class of one network less at the middle ratio, and nothing at all.
    assert len(set(pictures)) == 3
