"""Flips between dense and pruned networks, from tables made by hand; what a study without distances is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sparrow.analyses import flips
from sparrow.errors import SparrowError
from sparrow.results.outcomes import Outcomes
from sparrow.results.study_tables import Evaluated, Tables
from sparrow.study.load import load_study
from tests.study.test_targets import TINY

EPS = 0.1
SHAPE = (1, 8, 8)
TABLES = flips.Params.tables


def network(
    distance: list[float],
    seed: int = 0,
    method: str = "dense",
    ratio: float = 0.0,
    verified: list[bool] | None = None,
    **own: Any,
) -> Evaluated:
    """A network that fmn has tried on the images 0, 1, ..., all of class 0; it is wrong where the distance is 0."""
    far = pd.Series(distance, dtype=float)
    table = {"label": 0, "prediction": (far == 0).astype(int), "distance": far, "norm": "linf", "eps": EPS}
    table |= {"status": np.where(far > EPS, "robust", "broken"), "margin": np.where(far == 0, -1.0 - far.index, -1.0)}
    fmn = pd.DataFrame(table | own).rename_axis("index")
    proofs = {} if verified is None else {"ibp": fmn.assign(status=np.where(verified, "verified", "unknown"), decided="ibp")}
    who = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "method": method, "ratio": ratio, "seed": seed}
    who["stage"] = "finetuned" if ratio else "dense"
    return Evaluated(who, Outcomes(Path("network"), {"fmn": fmn}, proofs, {}, EPS, minimum_norm=["fmn"]), SHAPE)


def analysed(*networks: Evaluated, **params: Any) -> dict[str, pd.DataFrame]:
    ordered = tuple(sorted(networks, key=lambda one: tuple(one.identity.values())))
    rows = flips.analyse(Tables(ordered, torch.Generator()), flips.Params(**{"draws": 100, "fewest": 2, **params}))
    return {name: pd.DataFrame(rows[name], columns=columns) for name, columns in TABLES.items()}


def by_metric(table: pd.DataFrame, metric: str = "benign", method: str = "lwm") -> pd.Series:
    (row,) = (row for _, row in table.iterrows() if (row["metric"], row["method"]) == (metric, method))
    return row


# Right on six images; wrong on two. Pruned, it loses the nearest and the third, and gains the last.
DENSE = network([0.02, 0.04, 0.06, 0.2, 0.3, 0.4, 0, 0])
PRUNED = network([0, 0.04, 0, 0.2, 0.3, math.inf, 0, 0.1], method="lwm", ratio=0.9)


def test_the_four_sets_and_the_auc_by_hand() -> None:
    found = analysed(DENSE, PRUNED)
    row = by_metric(found["flips"])
    assert row[["pairs", "images", "n11", "n10", "n01", "n00"]].tolist() == [1, 8, 4, 2, 1, 1]
    # The nearest is nearer than four kept ones, the third nearer than three.
    assert row["auc"] == pytest.approx(7 / 8)
    assert row[["median_lost", "median_kept"]].tolist() == [0.02, 0.2]
    assert row["auc_low"] <= row["auc"] <= row["auc_high"]
    assert row["ratio"] == "0.9"
    single = by_metric(found["pairs"])
    assert single[["seed", "against", "n10", "n01", "auc"]].tolist() == [0, 0, 2, 1, 7 / 8]
    # Two of three or more.
    assert single["mcnemar_p"] == 1.0


def test_robust_images_are_compared_by_their_own_distances() -> None:
    # Three are robust before, and three after; the last is robust only then, at a distance of 0.11.
    pruned = network([0, 0.04, 0, 0.05, 0.3, math.inf, 0, 0.11], method="lwm", ratio=0.9)
    row = by_metric(analysed(DENSE, pruned)["flips"], "era")
    assert row[["n11", "n10", "n01", "n00"]].tolist() == [2, 1, 1, 4]
    # Too few lost for an AUC.
    assert math.isnan(row["auc"])
    assert row[["median_lost", "median_kept"]].tolist() == [0.2, 0.3]


def test_gained_images_are_ordered_by_how_near_they_were_to_being_right() -> None:
    # Of four wrong images the margins are -1, -2, -3, -4: the first and the third are gained.
    dense = network([0, 0, 0, 0, 0.2])
    pruned = network([0.3, 0, 0.3, 0, 0.2], method="lwm", ratio=0.9)
    row = by_metric(analysed(dense, pruned)["flips"])
    assert row["gained_auc"] == pytest.approx(3 / 4)
    assert math.isnan(row["auc"])


def test_a_dense_network_against_another_seed_is_the_churn() -> None:
    again = network([0, 0.04, 0.06, 0.2, 0, 0.4, 0.3, 0], seed=1)
    found = analysed(DENSE, again, PRUNED)
    row = by_metric(found["flips"], method="churn")
    # 0 against 1 loses two of six (0.02 and 0.3), 1 against 0 one of five (0.3).
    assert row[["stage", "ratio", "pairs", "n10", "n01"]].tolist() == ["dense", "0.0", 2, 1.5, 1.5]
    # 4 of 4 pairs and 1 of 4; then 1 of 4.
    assert row["auc"] == pytest.approx((5 / 8 + 1 / 4) / 2)
    assert row["p_holm"] is None or math.isnan(row["p_holm"])
    pairs = found["pairs"].query("method == 'churn' and metric == 'benign'")
    assert pairs[["seed", "against", "n10"]].to_numpy().tolist() == [[0, 1, 1], [1, 0, 2]]


def test_the_lone_network_of_a_seed_has_no_churn() -> None:
    assert set(analysed(DENSE, PRUNED)["flips"]["method"]) == {"lwm"}


def test_seeds_are_averaged_over_their_own_parents() -> None:
    dense, pruned = network([0.1, 0.2, 0.3, 0.4], seed=1), network([0.1, 0.2, 0, 0], seed=1, method="lwm", ratio=0.9)
    found = analysed(DENSE, PRUNED, dense, pruned)
    row = by_metric(found["flips"])
    # The images that both networks of a pair have been tried on are another number for each.
    assert row[["pairs", "images", "n10"]].tolist() == [2, 6, 2]
    assert row["auc"] == pytest.approx((7 / 8 + 0) / 2)


def test_p_is_adjusted_over_the_methods_and_ratios_of_a_panel() -> None:
    far = [0.01 * place for place in range(1, 41)]
    others = [
        network([0 if place % step == 0 and place < most else value for place, value in enumerate(far)], 0, "lwm", ratio)
        for ratio, step, most in ((0.5, 2, 12), (0.9, 2, 40), (0.95, 1, 25))
    ]
    table = analysed(network(far), *others)["flips"].query("metric == 'benign'")
    p, adjusted = (table[name].astype(float).to_numpy() for name in ("p", "p_holm"))
    order = np.argsort(p)
    expected = np.maximum.accumulate(np.minimum(1, p[order] * [3, 2, 1]))
    assert adjusted[order] == pytest.approx(expected)
    assert p.max() > 0.05 > p.min()


def test_agreement_on_the_ball_is_between_what_is_proven_and_what_is_refuted() -> None:
    # Both verified; one of them; neither, and broken; wrong beside verified; both wrong alike; and wrong beside broken.
    dense = network([0.5, 0.5, 0.05, 0.5, 0, 0.05], verified=[True, True, False, True, False, False])
    pruned = network([0.5, 0.5, 0.05, 0, 0, 0], method="lwm", ratio=0.9, verified=[True, False, False, False, False, False])
    (row,) = analysed(dense, pruned)["agreement"][["images", "agree_images", "agree_ball_low", "agree_ball_high"]].to_numpy()
    assert row.tolist() == pytest.approx([6, 4 / 6, 1 / 6, 4 / 6])
    broken = network([0.5, 0.05, 0.05, 0, 0, 0], method="lwm", ratio=0.9, verified=[True, False, False, False, False, False])
    (row,) = analysed(dense, broken)["agreement"]["agree_ball_high"]
    assert row == pytest.approx(3 / 6)


def test_without_verifiers_only_images_agree() -> None:
    (row,) = analysed(DENSE, PRUNED)["agreement"].to_numpy()[:, -4:]
    assert row.tolist()[:2] == [8, 5 / 8]
    assert pd.isna(row[2:]).all()


def test_a_network_that_failed_leaves_a_gap() -> None:
    lost = Outcomes(Path("network"), {}, {}, {}, EPS, failed={"attacks": "diverged"})
    found = analysed(DENSE, Evaluated(PRUNED.identity, lost, SHAPE))
    assert found["flips"].empty
    assert found["pairs"].empty
    # A dense one without distances has sets, but no boundary.
    pgd = Outcomes(Path("network"), {"pgd": DENSE.outcomes.attacks["fmn"]}, {}, {}, EPS)
    row = by_metric(analysed(Evaluated(DENSE.identity, pgd, SHAPE), PRUNED)["flips"])
    assert row["n10"] == 2
    assert math.isnan(row["auc"])


def test_tenths_have_as_many_images_and_the_nearest_come_first() -> None:
    far = [0.01 * place for place in range(1, 21)]
    pruned = network([0, 0, 0, *far[3:]], method="lwm", ratio=0.9)
    table = analysed(network(far), pruned)["deciles"].query("metric == 'benign'")
    assert table[["decile", "images"]].to_numpy().tolist() == [[place, 2] for place in range(1, 11)]
    assert table["lost"].tolist() == [1, 0.5] + [0] * 8
    assert (table["low"] <= table["lost"]).all()
    # All beyond what was searched are in one tenth, for nobody knows their order.
    alike = analysed(network([*far[:10], *[math.inf] * 10]), network([math.inf] * 20, method="lwm", ratio=0.9))["deciles"]
    assert alike.query("metric == 'benign'")["images"].tolist() == [2, 2, 2, 2, 2, 10]


def test_a_study_without_distances_or_dense_networks_is_refused_in_one_line() -> None:
    asked = {"analyses": {"flips": None}}
    load_study(TINY | asked | {"attacks": {"fmn": None}, "verifiers": {"ibp": None}})
    with pytest.raises(SparrowError, match=r"analyses.flips: reads distances of the nearest adversarial images; valid: with"):
        load_study(TINY | asked)
    with pytest.raises(
        SparrowError, match=r"analyses.flips: compares networks with their dense one, which evaluate leaves out"
    ):
        load_study(TINY | asked | {"attacks": {"fmn": None}, "verifiers": {"ibp": None}, "evaluate": ["finetuned"]})


SPEC = {"code": "test", "dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "stage": "finetuned"}
SPEC |= {"threats": {"benign": {"norm": "linf", "eps": EPS}}}


def drawn(tables: dict[str, pd.DataFrame], folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    flips.draw([folder / f"{name}.csv" for name in TABLES], folder / "a.svg", folder / "a.png", SPEC)
    return (folder / "a.svg").read_bytes()


def test_the_figure_is_the_same_to_the_byte_and_has_the_churn_where_there_is_one(tmp_path: Path) -> None:
    again = network([0, 0.04, 0.06, 0.2, 0, 0.4, 0.3, 0], seed=1)
    with_churn = drawn(analysed(DENSE, again, PRUNED), tmp_path)
    assert with_churn == drawn(analysed(DENSE, again, PRUNED), tmp_path)
    assert with_churn != drawn(analysed(DENSE, PRUNED), tmp_path)


def test_a_figure_of_nothing_says_so(tmp_path: Path) -> None:
    nothing = {name: pd.DataFrame(columns=columns) for name, columns in TABLES.items()}
    assert drawn(nothing, tmp_path)
    few = analysed(DENSE, PRUNED, fewest=9)
    assert few["flips"]["auc"].isna().all()
    assert drawn(few, tmp_path) != drawn(analysed(DENSE, PRUNED), tmp_path)
