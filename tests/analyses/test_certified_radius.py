"""Certified radius: of each network and verifier, beside its dense one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparrow.analyses.certified_radius import Params, analyse, draw
from sparrow.files.outcome_table import ABSTAINED
from sparrow.results.study_tables import Tables
from tests.analyses.outcomes import attacked, certified, network, study

LABELS = [0, 1, 2, 3]
# In l-inf 0.1, an image of 64 values needs the l2 radius 0.8.
DENSE = certified(LABELS, LABELS, [0.2, -0.4, 0.2, 0.2], "linf", 0.1)
PRUNED = certified(LABELS, [0, 1, ABSTAINED, 0], [0.1, 0.2, -0.8, 0.1], "linf", 0.1)


def subject(*pruned: pd.DataFrame | None, dense: pd.DataFrame | None = DENSE) -> Tables:
    attack = attacked(LABELS, LABELS)
    own = [network(attack, seed, 0.9, smoothed=table) for seed, table in enumerate(pruned)]
    return study(network(attack, smoothed=dense), *own)


def rows_of(given: Tables, table: str = "certified-radius", **settings: float) -> list[dict[str, Any]]:
    return [dict(zip(Params.tables[table], row, strict=True)) for row in analyse(given, Params(**settings))[table]]


def test_averages_and_differences_by_hand() -> None:
    dense, pruned = rows_of(subject(PRUNED))
    assert [(row["method"], row["ratio"], row["verifier"]) for row in (dense, pruned)] == [
        ("dense", "0.0", "smoothing"),
        ("lwm", "0.9", "smoothing"),
    ]
    # Radii of 1, 0.4, 1, 1 and 0.9, 1, 0, 0.
    assert (dense["average"], pruned["average"]) == (pytest.approx(0.85), pytest.approx(0.475))
    assert (pruned["images"], pruned["abstained"], pruned["needed"]) == (4, 1, pytest.approx(0.8))
    assert (pruned["dense"], pruned["change"]) == (pytest.approx(0.85), pytest.approx(-0.375))
    # Differences of -0.1, 0.6, -1, -1, of sd 0.776209; 3.18245 is the quantile at three degrees.
    assert pruned["change_high"] - pruned["change"] == pytest.approx(3.18245 * 0.776209 / 2, rel=1e-5)
    assert dense["change"] == 0


def test_the_curve_is_a_table_of_its_own() -> None:
    rows = rows_of(subject(PRUNED), "curve", step=0.5)
    own = [(row["radius"], row["certified"], row["images"]) for row in rows if row["method"] == "lwm"]
    assert own == [(0, 0.5, 4), (0.5, 0.5, 4), (pytest.approx(0.8), 0.5, 4), (1, 0, 4), (1.5, 0, 4)]


def test_without_a_dense_network_there_is_no_difference_and_a_failed_network_has_no_row() -> None:
    (row,) = rows_of(subject(PRUNED, None, dense=None))
    assert row["average"] == pytest.approx(0.475)
    assert np.isnan([row["dense"], row["change"], row["change_low"], row["change_high"]]).all()


@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_a_figure_is_drawn_of_whatever_there_is(seeds: int, tmp_path: Path) -> None:
    given = subject(*[PRUNED] * seeds, dense=DENSE if seeds else None)
    names = {"certified-radius": "certified-radius.csv", "curve": "certified-radius.curve.csv"}
    for table, name in names.items():
        pd.DataFrame(rows_of(given, table), columns=Params.tables[table]).to_csv(tmp_path / name, index=False)
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign", "other"], "stage": "finetuned", "code": "test"}
    spec["threats"] = {name: {"norm": "linf", "eps": 0.1} for name in spec["objectives"]}
    draw(source=[tmp_path / name for name in names.values()], svg=tmp_path / "a.svg", png=tmp_path / "a.png", spec=spec)
    assert (tmp_path / "a.svg").stat().st_size > 1000
