"""Prune potential and excess error, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from sparrow.analyses import potential
from sparrow.analyses.potential import Distribution, excesses, loss, potentials
from sparrow.files.corruption_kinds import KINDS
from sparrow.results.outcomes import Outcomes
from sparrow.results.study_tables import Analysed, Evaluated, Tables

BENIGN, THERE = Distribution("benign"), Distribution("corrupted", 3)


def hits(right: int, images: int = 1000) -> pd.Series:
    """Of so many images the first ones are right."""
    return pd.Series(np.arange(images) < right)


def readings(dense: int, delta: float = 0.005, images: int = 1000, **pruned: int) -> tuple:
    """shown, point and not_refuted of networks that get so many images right, by their ratio in percent."""
    by_ratio = {int(name[1:]) / 100: {0: {BENIGN: hits(right, images)}} for name, right in pruned.items()}
    (row,) = potentials({0: {BENIGN: hits(dense, images)}}, by_ratio, delta)
    return row[4:7]


def test_the_largest_ratio_counts_though_a_smaller_one_fails() -> None:
    # Errors 10.2, 10.6 and 10.4 % where the dense network has 10.0, and half a point may be lost.
    assert readings(900, r50=898, r90=894, r95=896)[1] == 0.95
    assert readings(900, r50=898, r90=894, r95=890)[1] == 0.5
    assert readings(900, r50=890, r90=880)[1] == 0


def test_what_is_shown_what_is_measured_and_what_is_not_refuted_differ() -> None:
    # Of 1,000 images 0, 4 and 8 are lost, and all: bounds of 0.3, 0.4 + 0.33 and 0.8 - 0.46 points.
    assert readings(900, r50=900, r80=896, r90=892, r99=0) == (0.5, 0.8, 0.9)


def test_few_images_show_nothing_even_without_a_change() -> None:
    assert readings(90, images=100, r90=90) == (0, 0.9, 0.9)
    # 1 - 0.05^(1/n) is below half a point from 598 images on.
    assert readings(500, images=597, r90=500)[0] == 0
    assert readings(500, images=598, r90=500)[0] == 0.9


def test_bounds_are_one_sided_of_95_percent() -> None:
    before, after = (pd.DataFrame({0: hits(right, 400).astype(float)}) for right in (360, 320))
    gaps = before[0] - after[0]
    low, high = stats.t.interval(0.9, 399, gaps.mean(), stats.sem(gaps))
    assert loss(before, after) == pytest.approx((low, 0.1, high))


def test_it_is_empty_where_the_dense_network_has_nothing() -> None:
    assert readings(0, r90=0) == (None, None, None)
    # 3 of 1,000 are not shown to be more than half a point.
    assert readings(3, r90=3) == (None, None, None)
    assert readings(50, r90=50) == (0.9, 0.9, 0.9)


def test_a_ratio_at_which_a_seed_failed_is_not_tried() -> None:
    dense = {seed: {BENIGN: hits(900)} for seed in (0, 1)}
    one, both = {0: {BENIGN: hits(900)}, 1: {BENIGN: hits(0, 0)}}, {seed: {BENIGN: hits(899)} for seed in (0, 1)}
    (row,) = potentials(dense, {0.5: both, 0.9: one}, 0.005)
    assert row[:2] == ("benign", None)
    assert row[2:4] == (0.005, 0.9)
    assert row[4:7] == (0.5, 0.5, 0.5)
    # One ratio, two seeds, all images.
    assert row[7:] == (1, 2, 1000)


def test_excess_error_by_hand() -> None:
    # Errors 10 and 30 % of the dense network, 12 and 40 % of the pruned one: 28 - 20 points.
    dense, pruned = {BENIGN: hits(900), THERE: hits(700)}, {BENIGN: hits(880), THERE: hits(600)}
    (row,) = excesses({0: dense}, {0.9: {0: pruned}})
    assert row[:3] == ("0.9", "corrupted", 3)
    kept, preserved, excess, low, high, relative, seeds, images = row[3:]
    assert (kept, preserved, excess, relative) == pytest.approx((88 / 90, 60 / 70, 0.08, 1.4))
    assert (seeds, images) == (1, 1000)
    # Lost besides: the images from 600 to 700; gained: those from 880 to 900, which were wrong in both.
    gaps = hits(880).astype(float) - hits(600) - (hits(900).astype(float) - hits(700))
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 999, gaps.mean(), stats.sem(gaps)))


def test_where_the_dense_network_loses_nothing_there_is_no_relative_error() -> None:
    dense, pruned = {BENIGN: hits(900), THERE: hits(900)}, {BENIGN: hits(900), THERE: hits(800)}
    (row,) = excesses({0: dense}, {0.9: {0: pruned}})
    assert row[8] is None
    assert row[5] == pytest.approx(0.1)


def network(method: str, ratio: float, right: int, robust: int) -> Evaluated:
    """A network that is right on the first images, and robust on fewer."""
    labels = pd.Series(np.zeros(1000, int))
    status = np.where(np.arange(1000) < robust, "robust", "broken")
    table = {"label": labels, "prediction": np.where(np.arange(1000) < right, 0, 1), "status": status, "eps": 0.1}
    stage = "dense" if method == "dense" else "finetuned"
    who = {"dataset": "d", "model": "m", "objective": "o", "method": method, "ratio": ratio, "seed": 0, "stage": stage}
    return Evaluated(who, Outcomes(Path("network"), {"pgd": pd.DataFrame(table)}, {}, {}, 0.1), (1, 8, 8))


def analysed(*networks: tuple[Evaluated, int, int]) -> Analysed:
    """Answers to corrupted images: of each network how many it gets right under snow and fog."""
    parts = []
    for one, snow, fog in networks:
        rows = pd.DataFrame({"image": range(1000), "label": 0, "severity": 3, "none": 0} | dict.fromkeys(KINDS, np.nan))
        rows["snow"], rows["fog"] = [np.where(np.arange(1000) < right, 0, 1) for right in (snow, fog)]
        parts.append(rows.assign(**one.identity))
    return Analysed("corruptions", "corruptions", {"images": pd.concat(parts)})


def test_all_distributions_of_a_study_are_there() -> None:
    dense, pruned = network("dense", 0.0, 900, 700), network("lwm", 0.9, 899, 600)
    tables = Tables((dense, pruned), torch.Generator(), (analysed((dense, 800, 600), (pruned, 800, 500)),))
    found = potential.analyse(tables, potential.Params())
    rows = {row[5:7]: row for row in found["potential"]}
    assert list(rows) == [("benign", None), ("era", None), ("corrupted", 3), ("snow", 3), ("fog", 3)]
    assert {row[:5] for row in rows.values()} == {("d", "m", "o", "lwm", "finetuned")}
    assert [rows[key][8] for key in rows] == pytest.approx([0.9, 0.7, 0.7, 0.8, 0.6])
    # Benign: one of 1,000 lost, shown to be below half a point; nothing under snow; ten points in era and under fog.
    assert [rows[key][9:12] for key in rows] == [(0.9,) * 3, (0.0,) * 3, (0.0,) * 3, (0.9,) * 3, (0.0,) * 3]
    excess = {row[6:8]: row[10] for row in found["excess"]}
    assert list(excess) == [("era", None), ("corrupted", 3), ("snow", 3), ("fog", 3)]
    assert list(excess.values()) == pytest.approx([0.099, 0.049, -0.001, 0.099])


def test_without_corruptions_there_are_the_others() -> None:
    tables = Tables((network("dense", 0.0, 900, 700), network("lwm", 0.9, 899, 600)), torch.Generator())
    found = potential.analyse(tables, potential.Params())
    assert [row[5] for row in found["potential"]] == ["benign", "era"]
    alone = Tables((network("lwm", 0.9, 899, 600),), torch.Generator())
    assert potential.analyse(alone, potential.Params()) == {"potential": [], "excess": []}


def test_a_variant_of_the_dense_network_is_no_method() -> None:
    dense, pruned = network("dense", 0.0, 900, 700), network("lwm", 0.9, 899, 600)
    rounded = replace(dense, identity=dense.identity | {"method": "dense+int8", "stage": "dense+int8"})
    found = potential.analyse(Tables((dense, rounded, pruned), torch.Generator()), potential.Params())
    assert {row[3] for row in found["potential"]} == {"lwm"}
