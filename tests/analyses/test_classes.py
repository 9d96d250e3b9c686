"""Tests of classes: t and p by hand, and no p where nothing varies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sparrow.analyses.classes import Params, analyse, compare, draw
from sparrow.results.figures import style
from sparrow.results.ranking import holm
from tests.analyses.outcomes import attacked, network, study


def array(*values: float) -> np.ndarray:
    return np.array(values)


def test_welch_by_hand() -> None:
    # Beyond the mean accuracies: 0.1, 0, 0.05 against 0, -0.1, -0.05, both of variance 0.0025: t = -0.1 / sqrt(0.005 / 3).
    found = compare(array(0.9, 0.8, 0.85), array(0.8, 0.8, 0.8), array(0.7, 0.6, 0.65), array(0.7, 0.7, 0.7))
    assert found.t_welch == pytest.approx(-2.449, abs=5e-4)
    assert found.p_welch == pytest.approx(0.0705, abs=5e-5)
    # The paper takes the mean accuracy off, so that it does not matter which network has which.
    other = compare(array(0.9, 0.8, 0.85), array(0.7, 0.8, 0.9), array(0.7, 0.6, 0.65), array(0.8, 0.7, 0.6))
    assert other[-2:] == pytest.approx(found[-2:])


def test_the_paired_test_by_hand() -> None:
    # Beyond each network's own accuracy: 0.1, 0, 0 and 0, -0.2, -0.3. Of the differences, t = -0.2 / (0.1 / sqrt(3)).
    found = compare(array(0.9, 0.7, 0.8), array(0.8, 0.7, 0.8), array(0.7, 0.6, 0.4), array(0.7, 0.8, 0.7))
    assert found.change == pytest.approx(-0.2)
    assert found.t_paired == pytest.approx(-(12**0.5))
    # Of two degrees of freedom, p = 1 - |t| / sqrt(t^2 + 2).
    assert found.p_paired == pytest.approx(1 - (12 / 14) ** 0.5)
    # The quantile at two degrees is 4.30265.
    assert (found.low, found.high) == pytest.approx((-0.2 - 4.30265 * 0.1 / 3**0.5, -0.2 + 4.30265 * 0.1 / 3**0.5), rel=1e-5)


def test_seeds_belong_together() -> None:
    # The same recalls, the pruned ones in another order: a steady loss becomes one that chance explains.
    even, dense = np.full(4, 0.5), array(0.2, 0.4, 0.6, 0.8)
    pruned = array(0.11, 0.3, 0.5, 0.71)
    steady, mixed = compare(dense, even, pruned, even), compare(dense, even, pruned[::-1], even)
    assert steady.p_paired < 0.001 < 0.5 < mixed.p_paired
    assert steady.p_welch == pytest.approx(mixed.p_welch)
    assert steady.change == pytest.approx(mixed.change)


def test_where_a_population_does_not_vary_there_is_no_p() -> None:
    # Always right: by the mean accuracies alone, Welch's test would call any difference significant.
    ones, dense, pruned = np.ones(3), array(0.90, 0.91, 0.92), array(0.91, 0.89, 0.90)
    found = compare(ones, dense, ones, pruned)
    assert np.isnan([found.t_welch, found.p_welch]).all()
    assert found.p_paired > 0.05
    # Neither the recall nor the accuracy varies, or the difference does not.
    assert np.isnan(compare(ones, np.full(3, 0.9), array(0.5, 0.6, 0.7), np.full(3, 0.6))[3:5]).all()
    assert np.isnan(compare(array(0.5, 0.6, 0.7), dense * 0, array(0.4, 0.5, 0.6), pruned * 0)[3:5]).all()


LABELS = [0] * 4 + [1] * 4 + [2] * 2


def right(*counts: int) -> list[int]:
    """Predictions of which so many of each class are right, and the rest 9."""
    found = [9] * len(LABELS)
    for label, count in enumerate(counts):
        start = LABELS.index(label)
        found[start : start + count] = [label] * count
    return found


def rows_of(dense: list[tuple[int, ...]], pruned: list[tuple[int, ...]], metric: str = "benign") -> list[dict[str, Any]]:
    networks = [network(attacked(LABELS, right(*counts)), seed) for seed, counts in enumerate(dense)]
    networks += [network(attacked(LABELS, right(*counts)), seed, 0.9) for seed, counts in enumerate(pruned)]
    rows = [dict(zip(Params.tables["classes"], row, strict=True)) for row in analyse(study(*networks), Params())]
    return [row for row in rows if row["metric"] == metric]


DENSE, PRUNED = [(4, 3, 2), (4, 4, 1), (3, 4, 2)], [(3, 1, 2), (4, 2, 2), (3, 0, 1)]


def test_every_class_is_compared_with_the_networks_own_accuracies() -> None:
    rows = rows_of(DENSE, PRUNED)
    assert [(row["class"], row["images"], row["seeds"]) for row in rows] == [(0, 4, 3), (1, 4, 3), (2, 2, 3)]
    assert [row["recall_dense"] for row in rows] == pytest.approx([11 / 12, 11 / 12, 5 / 6])
    # Accuracies are over images, not over classes, which are not equally many.
    assert {(round(row["accuracy_dense"], 6), round(row["accuracy_pruned"], 6)) for row in rows} == {(0.9, 0.6)}
    assert [row["change"] for row in rows] == pytest.approx([10 / 12 - 11 / 12 + 0.3, 3 / 12 - 11 / 12 + 0.3, 0.3])
    # Of class 1, differences of recalls and of accuracies: -0.5, -0.5, -1 and -0.3, -0.1, -0.5.
    expected = compare(array(0.75, 1, 1), array(0.9, 0.9, 0.9), array(0.25, 0.5, 0), array(0.6, 0.8, 0.4))
    assert tuple(rows[1].values())[-8:-2] == pytest.approx((*expected[:5], rows[1]["p_holm"]))


def test_p_is_adjusted_over_the_classes_that_have_one() -> None:
    rows = rows_of(DENSE, PRUNED)
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p_paired"] for row in rows]))
    # No accuracy varies, and class 2 is always right.
    rows = rows_of([(4, 3, 2), (3, 4, 2), (3, 4, 2)], [(4, 2, 2), (4, 2, 2), (2, 4, 2)])
    assert [np.isnan(row["p_holm"]) for row in rows] == [False, False, True]
    assert [row["p_holm"] for row in rows[:2]] == pytest.approx(holm([row["p_paired"] for row in rows[:2]]))


def test_each_metric_is_a_panel_and_those_that_nobody_measured_are_none() -> None:
    assert len(rows_of(DENSE, PRUNED, "era")) == 3
    assert rows_of(DENSE, PRUNED, "vra") == []


def test_two_seeds_have_no_row(capsys: pytest.CaptureFixture) -> None:
    assert rows_of(DENSE[:2], PRUNED[:2]) == []
    assert "2 networks have outcomes, and 3 are needed" in capsys.readouterr().out


@pytest.mark.parametrize("empty", [False, True])
def test_a_figure_is_drawn_of_whatever_there_is(empty: bool, tmp_path: Path) -> None:
    table = pd.DataFrame([] if empty else rows_of(DENSE, PRUNED), columns=Params.tables["classes"])
    table.assign(dataset="digits").to_csv(tmp_path / "classes.csv", index=False)
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign", "other"], "stage": "finetuned", "code": "test"}
    spec["threats"] = {name: {"norm": "linf", "eps": 0.1} for name in spec["objectives"]}
    draw(source=tmp_path / "classes.csv", svg=tmp_path / "a.svg", png=tmp_path / "a.png", spec=spec)
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_a_metric_of_which_nobody_has_anything_has_no_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"recall_dense": 0.0, "recall_pruned": 0.0, "change": 1e-17, "low": np.nan, "high": np.nan}
    rows = rows_of(DENSE, PRUNED)
    table = pd.DataFrame([*rows, *(row | {"metric": "vra"} | nothing for row in rows)], columns=Params.tables["classes"])
    table.assign(dataset="digits").to_csv(tmp_path / "classes.csv", index=False)
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "stage": "finetuned", "code": "test"}
    spec["threats"] = {"benign": {"norm": "linf", "eps": 0.1}}
    drawn: list[Figure] = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: drawn.append(figure))
    draw(source=tmp_path / "classes.csv", svg=tmp_path / "a.svg", png=tmp_path / "a.png", spec=spec)
    above, below = drawn[0].axes
    assert below.get_ylabel().startswith("benign")
    # No class changes: the axis of the counts has whole numbers all the same.
    assert above.get_ylim() == (0, 1)
    style.plt.close(drawn[0])
