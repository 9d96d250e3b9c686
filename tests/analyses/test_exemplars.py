"""Exemplars: votes of three seeds by hand, through the tables of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparrow.analyses.exemplars import Params, analyse, draw
from sparrow.results.outcomes import Outcomes
from sparrow.results.study_tables import Tables
from tests.analyses.outcomes import attacked, network, study

LABELS = [0, 1, 2, 3]
# Three dense networks and three pruned ones; by votes, image 1 is lost, image 2 wrong in another way, and 3 gained.
DENSE = [[0, 1, 0, 1], [0, 1, 0, 3], [0, 2, 0, 1]]
PRUNED = [[0, 2, 1, 3], [0, 2, 1, 3], [0, 1, 2, 3]]
ROBUST = [True, True, False, False]


def tables(dense: list[list[int]] = DENSE, pruned: list[list[int]] = PRUNED, seeds: int = 3) -> Tables:
    """A study whose dense networks are robust wherever they are right on images 0 and 1, and pruned ones on image 0 alone."""
    found = []
    for seed in range(seeds):
        right = [one == label for one, label in zip(dense[seed], LABELS, strict=True)]
        robust = [hit and there for hit, there in zip(right, ROBUST, strict=True)]
        found.append(network(attacked(LABELS, dense[seed], robust), seed))
        found.append(network(attacked(LABELS, pruned[seed], [True, False, False, False]), seed, 0.9))
    return study(*found)


def rows_of(subject: Tables, table: str = "exemplars") -> list[dict[str, Any]]:
    rows = analyse(subject, Params())[table]
    return [dict(zip(Params.tables[table], row, strict=True)) for row in rows]


def row_of(subject: Tables, vote: str) -> dict[str, Any]:
    (found,) = [row for row in rows_of(subject) if row["vote"] == vote]
    return found


def test_exemplars_of_three_seeds_by_hand() -> None:
    row = row_of(tables(), "class")
    whose = ("digits", "cnn-small", "benign", "lwm", "0.9", "finetuned")
    assert tuple(row.values())[:9] == (*whose, "class", 3, 4)
    assert (row["share"], row["ties"]) == (3 / 4, 0)
    # Of the three, image 1 was right by the dense networks' vote, and image 3 is by the pruned ones'.
    assert (row["lost"], row["gained"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert row["low"] <= row["share"] <= row["high"]
    assert np.isnan(row["floor"])
    assert np.isnan(row["halves"])


def test_accuracies_on_exemplars_and_off_them_by_hand() -> None:
    row = row_of(tables(), "class")
    # Means over seeds of the shares of images 1, 2 and 3 that are right: 1, 2 and 0 of 3 dense, 1, 1 and 3 pruned.
    assert row["benign_on_dense"] == pytest.approx((1 + 2 + 0) / 9)
    assert row["benign_on_pruned"] == pytest.approx((1 + 1 + 3) / 9)
    assert (row["benign_off_dense"], row["benign_off_pruned"]) == (1, 1)
    assert row["era_on_dense"] == pytest.approx((1 + 1 + 0) / 9)
    assert row["era_on_pruned"] == 0
    assert (row["era_off_dense"], row["era_off_pruned"]) == (1, 1)


def test_exemplars_of_robustness_by_hand() -> None:
    row = row_of(tables(), "robust")
    # Two of three dense networks are robust on image 1, no pruned one is; all are on image 0, none on the others.
    assert (row["share"], row["lost"], row["gained"]) == (1 / 4, 1, 0)


def test_the_images_are_named_with_their_votes() -> None:
    found = [tuple(row.values())[6:] for row in rows_of(tables(), "images")]
    assert found == [
        # Vote, index, label, both votes, and how many networks of each side they are of.
        ("class", 1, 1, 1, 2, 2, 2),
        ("class", 2, 2, 0, 1, 3, 2),
        ("class", 3, 3, 1, 3, 2, 3),
        ("robust", 1, 1, 1, 0, 2, 3),
    ]


def test_a_tie_goes_to_the_largest_label_and_is_counted() -> None:
    # Of four seeds: image 1 is 1, 1, 2, 2 by dense networks, and 2 by the pruned ones.
    dense, pruned = [[0, one, 2, 3] for one in (1, 1, 2, 2)], [[0, 2, 2, 3]] * 4
    row = row_of(tables(dense, pruned, 4), "class")
    assert (row["share"], row["ties"]) == (0, 1)
    # Halves of the dense networks: two of six are unanimous and differ, on one of four images.
    assert row["floor"] == pytest.approx(2 / 6 / 4)
    # A half of the dense networks says 1 where both of it do, in one of six.
    assert row["halves"] == pytest.approx(1 / 6 / 4)
    assert np.isnan(row["lost"])
    assert np.isnan(row["benign_on_dense"])


def test_pruning_that_does_nothing_has_no_exemplars() -> None:
    row = row_of(tables(DENSE, DENSE), "class")
    assert (row["share"], row["low"], row["high"]) == (0, 0, 0)


def test_cells_of_two_seeds_have_no_row_and_failed_networks_no_vote(capsys: pytest.CaptureFixture) -> None:
    assert rows_of(tables(seeds=2)) == []
    assert "digits/cnn-small/benign/lwm/0.9/finetuned: 2 networks have outcomes, and 3 are needed" in capsys.readouterr().out
    whole = tables()
    broken = [network(None, seed=3), network(attacked(LABELS, PRUNED[0]), seed=3, ratio=0.9)]
    assert repr(rows_of(study(*whole.networks, *broken))) == repr(rows_of(whole))


def test_other_cells_change_no_number() -> None:
    other = [network(attacked(LABELS, PRUNED[0]), seed, 0.5, "hydra") for seed in range(3)]
    found = [row for row in rows_of(study(*tables().networks, *other)) if row["method"] == "lwm"]
    assert repr(found) == repr(rows_of(tables()))


def test_predictions_are_those_of_any_table() -> None:
    first, second = attacked([0, 1], [0, 2]), attacked([0, 1, 2], [0, 2, 2]).iloc[1:]
    outcomes = Outcomes(Path("network"), {"pgd": first}, {"ibp": second}, {}, 0.1)
    assert outcomes.predictions().to_dict() == {0: 0, 1: 2, 2: 2}


@pytest.mark.parametrize("votes", [("class", "robust"), ("class",), ()])
def test_a_figure_is_drawn_of_whatever_there_is(votes: tuple[str, ...], tmp_path: Path) -> None:
    table = pd.DataFrame(rows_of(tables()), columns=Params.tables["exemplars"])
    table[table["vote"].isin(votes)].to_csv(tmp_path / "exemplars.csv", index=False)
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign", "other"], "stage": "finetuned", "code": "test"}
    spec["threats"] = {name: {"norm": "linf", "eps": 0.1} for name in spec["objectives"]}
    draw(source=[tmp_path / "exemplars.csv"], svg=tmp_path / "a.svg", png=tmp_path / "a.png", spec=spec)
    assert (tmp_path / "a.svg").stat().st_size > 1000
