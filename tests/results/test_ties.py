"""Ties in the ranking: by hand, and against the ranking without them."""

import numpy as np
import pandas as pd
import pytest

from sparrow.results.ranking import rank
from sparrow.results.ties import ranked
from tests.results.test_ranking import network, right


def ranks(*networks):
    """Rank, method and verdict by era."""
    table = ranked(networks)
    return table[table["metric"] == "era"].reset_index(drop=True)


def short(table):
    return table[["rank", "method", "verdict"]].to_numpy().tolist()


def test_methods_with_the_same_outcomes_are_level_and_none_is_the_best():
    table = ranks(*(network(method, right(70)) for method in ("lwm", "hydra")), network("random", right(10)))
    assert short(table) == [[1, "hydra", "level"], [1, "lwm", "level"], [3, "random", "worse"]]
    assert table[["behind_low", "behind_high"]].iloc[:2].isna().all(axis=None)
    assert table["images"].tolist() == [100] * 3


def test_methods_of_one_accuracy_on_other_images_are_level_with_an_interval():
    table = ranks(network("lwm", right(70)), network("hydra", right(70)[::-1]))
    assert short(table) == [[1, "hydra", "level"], [1, "lwm", "level"]]
    assert table["behind"].tolist() == [0, 0]
    assert table.loc[1, "behind_low"] < 0 < table.loc[1, "behind_high"]


def test_seeds_in_another_order_are_level_too():
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last digit.
    networks = [network("lwm", right(10 * (1 + seed)), seed=seed) for seed in range(3)]
    networks += [network("hydra", right(10 * (3 - seed)), seed=seed) for seed in range(3)]
    assert short(ranks(*networks)) == [[1, "hydra", "level"], [1, "lwm", "level"]]


def test_equals_behind_the_best_share_a_rank():
    table = ranks(network("a", right(90)), network("b", right(20)), network("c", right(20)), network("d", right(10)))
    assert table["rank"].tolist() == [1, 2, 2, 4]
    assert table["verdict"].tolist() == ["best", "worse", "worse", "worse"]


@pytest.mark.parametrize(
    ("images", "verdict", "p"),
    # Two-sided, of n pairs that all differ the same way: 2 / 2^n.
    [(1, "within the noise", 1.0), (5, "within the noise", 2 / 2**5), (6, "worse", 2 / 2**6), (100, "worse", 2 / 2**100)],
)
def test_pairs_that_all_differ_alike_are_judged_by_their_number(images, verdict, p):
    table = ranks(network("hydra", [1] * images), network("lwm", [0] * images))
    assert short(table) == [[1, "hydra", "best"], [2, "lwm", verdict]]
    assert table.loc[1, "p_holm"] == pytest.approx(p)
    assert table.loc[1, "behind"] == 1
    assert table.loc[1, ["behind_low", "behind_high"]].isna().all()


def test_a_sign_test_beside_other_tests_is_adjusted_with_them():
    # Of six images: all, none, none and half.
    table = ranks(network("a", [1] * 6), network("b", [0] * 6), network("c", [0] * 6), network("d", [1, 1, 1, 0, 0, 0]))
    by_method = table.set_index("method")
    assert by_method.loc["b", "p_holm"] == pytest.approx(3 * 2 / 2**6)
    assert by_method.loc["b", "verdict"] == "likely worse"
    before = rank([network("a", [1] * 6), network("d", [1, 1, 1, 0, 0, 0])])
    alone = float(before.loc[before["method"] == "d", "p_holm"].iloc[0])
    assert by_method.loc["d", "p_holm"] == pytest.approx(max(alone, 3 * 2 / 2**6))


def test_without_ties_it_is_the_ranking():
    networks = [network("lwm", right(60)), network("hydra", right(90)), network("random", right(80))]
    networks += [network("broken", [])]
    pd.testing.assert_frame_equal(ranked(networks).drop(columns="images"), rank(networks), check_dtype=False)
    assert ranked([]).columns.tolist() == [*rank([]).columns[:10], "images", *rank([]).columns[10:]]


def test_what_failed_or_has_no_rank_is_level_with_nothing():
    nothing = network("broken", [])
    table = ranked([network("lwm", right(70)), nothing])
    era = table[table["metric"] == "era"]
    assert short(era)[0] == [1, "lwm", "best"]
    assert short(era)[1][1:] == ["broken", "failed"]
    assert np.isnan(short(era)[1][0])
    assert era["images"].isna().tolist() == [False, True]
