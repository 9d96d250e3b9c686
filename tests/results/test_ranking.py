"""Which method is best and which differences are noise: by hand, and against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sparrow.results.ranking import GROUP, Hits, difference, holm, rank

WHO = {"dataset": "digits", "model": "cnn-small", "objective": "adversarial", "stage": "finetuned", "ratio": 0.9, "seed": 0}
WHO["granularity"] = "weight"


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.03], [0.03]),
        ([0.4, 0.6], [0.8, 0.8]),
        ([0.9, 0.7, 0.8], [1, 1, 1]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0, 1]),
        ([], []),
    ],
)
def test_holms_adjustment_by_hand(given, adjusted):
    assert holm(given) == pytest.approx(adjusted)


def test_holms_adjustment_keeps_the_order_of_the_p_values():
    given = np.random.default_rng(0).random(20) ** 3
    assert (np.diff(np.array(holm(list(given)))[given.argsort()]) >= 0).all()


def test_holms_adjustment_never_makes_a_p_value_smaller_nor_larger_than_bonferronis():
    given = np.random.default_rng(0).random(20) ** 3
    adjusted = np.array(holm(list(given)))
    assert (given <= adjusted).all()
    assert (adjusted <= np.minimum(1, 20 * given) + 1e-12).all()


def hits(*columns, images=None):
    """Images by seeds."""
    return pd.DataFrame({seed: np.array(column, dtype=bool) for seed, column in enumerate(columns)}, index=images)


def test_with_one_seed_the_difference_is_a_paired_t_test_over_images():
    generator = np.random.default_rng(0)
    one, two = generator.random(50) < 0.8, generator.random(50) < 0.6
    expected = stats.ttest_rel(one.astype(float), two.astype(float))
    interval = expected.confidence_interval(0.95)
    mean = one.mean() - two.mean()
    assert difference(hits(one), hits(two)) == pytest.approx((mean, interval.low, interval.high, expected.pvalue))


def test_with_several_seeds_both_variances_count():
    # Gaps by image and seed: 1 1 1 / 1 0 1 / 0 0 0 / 0 -1 1; mean 5/12.
    first = hits([1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1])
    second = hits([0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0])
    # Seeds have the means 1/2, 0, 3/4: variance 7/48, over 3 seeds 7/144, 2 degrees of freedom.
    # Images have the means 1, 2/3, 0, 0: variance 1/4, over 4 images 9/144, 3 degrees of freedom.
    # Together 16/144, a standard error of 1/3, and 16^2 / (7^2 / 2 + 9^2 / 3) = 256 / 51.5 degrees of freedom.
    freedom = 256 / 51.5
    reach = stats.t.ppf(0.975, freedom) / 3
    p_value = 2 * stats.t.sf(1.25, freedom)
    assert difference(first, second) == pytest.approx((5 / 12, 5 / 12 - reach, 5 / 12 + reach, p_value))


def test_two_seeds_that_agree_do_not_halve_the_variance_of_the_images():
    # The same four images were looked at twice; only the p-value of one seed's is right.
    one, none = [1, 1, 1, 0], [0, 0, 0, 0]
    assert difference(hits(one, one), hits(none, none)) == pytest.approx(difference(hits(one), hits(none)))


def test_on_one_image_only_the_seeds_vary():
    # Gaps 1, 0, 0: as a t test of three values.
    expected = stats.ttest_1samp([1, 0, 0], 0)
    assert difference(hits([1], [0], [0]), hits([0], [0], [0]))[3] == pytest.approx(expected.pvalue)


def test_the_other_way_round_a_difference_has_the_other_sign():
    first, second = hits([1, 1, 1, 0]), hits([0, 1, 0, 0])
    mean, low, high, p_value = difference(first, second)
    assert difference(second, first) == pytest.approx((-mean, -high, -low, p_value))


def test_the_same_outcomes_do_not_differ():
    assert difference(hits([1, 0, 1], [1, 1, 0]), hits([1, 0, 1], [1, 1, 0])) == (0, 0, 0, 1)


def test_a_difference_without_variance_is_certain():
    assert difference(hits([1, 1, 1]), hits([0, 0, 0])) == (1, 1, 1, 0)


def test_images_are_paired_by_their_index_and_not_by_their_place():
    first, second = hits([1, 1, 0, 0], images=[3, 5, 8, 9]), hits([0, 0, 1, 1], images=[9, 8, 5, 3])
    assert difference(first, second) == (0, 0, 0, 1)


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    first, second = hits([1, 1, 0], [0, 0, 1]), hits([1, 1, 0], [0, 0, 1])
    assert difference(first, second[[1, 0]]) == (0, 0, 0, 1)


def test_only_images_of_the_first_are_compared():
    first, second = hits([1, 1, 0], images=[0, 1, 2]), hits([0, 0, 0, 1, 1], images=[0, 1, 2, 3, 4])
    assert difference(first, second)[0] == pytest.approx(2 / 3)


def network(method, era, vra=None, **who):
    """One network; `era` and `vra` say which of its images it gets right."""
    by_metric = {name: pd.Series(np.array(right, dtype=bool)) for name, right in (("era", era), ("vra", vra or era))}
    return Hits(WHO | {"method": method} | who, by_metric)


def right(count, of=100):
    return [True] * count + [False] * (of - count)


def era(networks):
    """The ranking by era."""
    table = rank(networks)
    return table[table["metric"] == "era"].reset_index(drop=True)


def test_methods_are_ranked_by_their_mean():
    table = era([network("lwm", right(70)), network("hydra", right(90)), network("random", right(80))])
    assert table[["rank", "method", "mean"]].to_numpy().tolist() == [[1, "hydra", 0.9], [2, "random", 0.8], [3, "lwm", 0.7]]


def test_equals_are_ranked_by_name():
    networks = [network(method, right(70)) for method in ("lwm", "hydra", "random")]
    assert era(networks)["method"].tolist() == ["hydra", "lwm", "random"]
    assert era(networks[::-1])["method"].tolist() == ["hydra", "lwm", "random"]


def test_equals_are_not_behind_and_within_the_noise():
    table = era([network("lwm", right(70)), network("hydra", right(70))])
    assert table[["behind", "p_holm", "verdict"]].to_numpy().tolist()[1] == [0, 1, "within the noise"]


def test_the_best_is_behind_nobody():
    best = era([network("lwm", right(70)), network("hydra", right(90))]).iloc[0]
    assert (best["behind"], best["verdict"]) == (0, "best")
    assert best[["behind_low", "behind_high", "p_holm"]].isna().all()


def test_a_clear_difference_is_not_within_the_noise():
    worse = era([network("lwm", right(60)), network("hydra", right(90))]).iloc[1]
    assert (worse["behind"], worse["verdict"]) == (pytest.approx(0.3), "worse")
    assert worse["behind_low"] > 0


def test_a_small_difference_is_within_the_noise():
    worse = era([network("lwm", right(89)), network("hydra", right(90))]).iloc[1]
    assert (worse["behind"], worse["verdict"]) == (pytest.approx(0.01), "within the noise")
    assert worse["behind_low"] < 0 < worse["behind_high"]


def test_behind_is_the_bests_share_minus_ones_own():
    worse = era([network("lwm", right(60)), network("hydra", right(90))]).iloc[1]
    expected = difference(hits(right(90)), hits(right(60)))
    assert worse[["behind", "behind_low", "behind_high", "p_holm"]].tolist() == pytest.approx(list(expected))


def test_p_values_are_adjusted_over_the_methods_of_a_comparison():
    shares = {"best": 90, "close": 86, "far": 84, "farther": 80}
    table = era([network(method, right(count)) for method, count in shares.items()]).set_index("method")
    raw = {method: difference(hits(right(90)), hits(right(count)))[3] for method, count in shares.items()}
    # All four are below 0.05 alone; `close` has the largest p-value and the factor 1.
    assert table.loc["farther", "p_holm"] == pytest.approx(3 * raw["farther"])
    assert table.loc["far", "p_holm"] == pytest.approx(2 * raw["far"])
    assert table.loc["close", "p_holm"] == pytest.approx(max(raw["close"], 2 * raw["far"]))


def test_another_method_beside_can_make_a_difference_less_certain():
    # 5 images of 100: p is 0.0245 alone, and three times that with two equals beside it.
    pair = [network("best", right(90)), network("lwm", right(85))]
    alone = era(pair).set_index("method")
    among = era([*pair, *(network(f"equal-{number}", right(85)) for number in range(2))]).set_index("method")
    assert (alone.loc["lwm", "verdict"], among.loc["lwm", "verdict"]) == ("worse", "likely worse")


def test_a_method_alone_is_the_best():
    table = era([network("lwm", right(70))])
    assert table[["rank", "method", "verdict"]].to_numpy().tolist() == [[1, "lwm", "best"]]


def test_with_one_seed_the_interval_is_wilsons():
    found = era([network("lwm", right(7, of=10))]).iloc[0]
    z = 1.959964
    low, high = ((0.7 + z**2 / 20 + side * (0.021 + z**2 / 400) ** 0.5) / (1 + z**2 / 10) for side in (-z, z))
    assert found[["mean", "low", "high"]].tolist() == pytest.approx([0.7, low, high], abs=1e-6)
    assert np.isnan(found["sd"])


def test_with_several_seeds_the_interval_is_students():
    found = era([network("lwm", right(count), seed=seed) for seed, count in enumerate((70, 74, 72))]).iloc[0]
    # The standard deviation of 0.70, 0.74, 0.72 is 0.02; t with 2 degrees of freedom is 4.302653.
    reach = 4.302653 * 0.02 / 3**0.5
    assert found[["mean", "low", "high", "sd"]].tolist() == pytest.approx([0.72, 0.72 - reach, 0.72 + reach, 0.02], abs=1e-6)
    assert found["seeds"] == 3


def test_every_metric_has_a_ranking_of_its_own():
    table = rank([network("lwm", right(70), right(20)), network("hydra", right(60), right(30))])
    assert table[["metric", "rank", "method"]].to_numpy().tolist() == [
        ["era", 1, "lwm"],
        ["era", 2, "hydra"],
        ["vra", 1, "hydra"],
        ["vra", 2, "lwm"],
    ]


def test_every_metric_rests_on_its_own_images():
    # The verifier has seen fewer images than the attack.
    table = rank([network("lwm", right(7, of=10), right(1, of=4)), network("hydra", right(6, of=10), right(2, of=4))])
    assert table.set_index(["metric", "method"])["mean"].to_dict() == {
        ("era", "lwm"): 0.7,
        ("era", "hydra"): 0.6,
        ("vra", "hydra"): 0.5,
        ("vra", "lwm"): 0.25,
    }


OTHERS = {"dataset": "svhn", "model": "cnn-large", "objective": "benign", "stage": "pruned", "ratio": 0.99}
OTHERS["granularity"] = "filter"


@pytest.mark.parametrize("key", GROUP)
def test_networks_of_two_kinds_are_never_compared(key):
    table = era([network("lwm", right(60)), network("hydra", right(90), **{key: OTHERS[key]})])
    assert table[["rank", "behind"]].to_numpy().tolist() == [[1, 0], [1, 0]]
    assert table[key].tolist() == [WHO[key], OTHERS[key]]


def test_p_values_are_not_adjusted_over_several_comparisons():
    pair = [network("best", right(90)), network("lwm", right(85))]
    other = [network("best", right(90), ratio=0.99), network("lwm", right(85), ratio=0.99)]
    raw = difference(hits(right(90)), hits(right(85)))[3]
    assert era([*pair, *other])["p_holm"].dropna().tolist() == pytest.approx([raw, raw])


def test_nothing_to_rank_is_an_empty_table_with_its_columns():
    table = rank([])
    assert table.empty
    assert list(table.columns[:9]) == [*GROUP, "metric", "rank", "method"]
    assert list(table.columns[-2:]) == ["p_holm", "verdict"]


def lost(method, vra=(), **who):
    """A network without outcomes by era; by default without any."""
    by_metric = {"era": pd.Series(dtype=bool), "vra": pd.Series(np.array(vra, dtype=bool), dtype=bool)}
    return Hits(WHO | {"method": method} | who, by_metric)


def test_a_method_that_failed_is_named_and_ranked_nowhere():
    table = era([network("lwm", right(70)), lost("random"), network("hydra", right(90))])
    assert table[["method", "verdict"]].to_numpy().tolist() == [["hydra", "best"], ["lwm", "worse"], ["random", "failed"]]
    assert table[["rank", "seeds", "mean", "behind", "p_holm"]].iloc[2].isna().all()


def test_a_method_that_failed_with_one_seed_is_not_ranked_by_the_others():
    # The seeds that are left may be the easier ones.
    networks = [network(method, right(70), seed=seed) for method in ("lwm", "hydra") for seed in (0, 1)]
    table = era([*networks, network("random", right(90), seed=0), lost("random", seed=1)])
    assert table[["method", "verdict"]].to_numpy().tolist() == [
        ["hydra", "best"],
        ["lwm", "within the noise"],
        ["random", "failed"],
    ]


def test_a_method_that_failed_changes_nothing_for_the_others():
    # Nor is there a p-value more to adjust for.
    pair = [network("best", right(90)), network("lwm", right(85))]
    alone, beside = era(pair), era([*pair, lost("random"), lost("hydra")])
    assert beside["verdict"].tolist() == [*alone["verdict"], "failed", "failed"]
    pd.testing.assert_frame_equal(beside.iloc[:2], alone, check_dtype=False)


def test_methods_that_failed_stand_at_the_end_in_the_order_of_their_names():
    table = era([lost("random"), network("snip", right(70)), lost("admm"), lost("hydra")])
    assert table["method"].tolist() == ["snip", "admm", "hydra", "random"]


def test_a_method_may_fail_by_one_metric():
    table = rank([network("lwm", right(70)), lost("hydra", vra=right(80)), network("random", right(60))])
    assert table[["metric", "method", "verdict"]].to_numpy().tolist() == [
        ["era", "lwm", "best"],
        ["era", "random", "worse"],
        ["era", "hydra", "failed"],
        ["vra", "hydra", "best"],
        ["vra", "lwm", "worse"],
        ["vra", "random", "worse"],
    ]


def test_a_failure_counts_in_its_own_comparison_alone():
    networks = [network("lwm", right(70)), lost("hydra")]
    elsewhere = [network("lwm", right(70), ratio=0.99), network("hydra", right(70), ratio=0.99)]
    table = era([*networks, *elsewhere])
    assert table.groupby("ratio")["verdict"].apply(list).to_dict() == {
        0.9: ["best", "failed"],
        0.99: ["best", "within the noise"],
    }


def test_where_every_method_failed_there_is_nothing_to_rank():
    assert era([lost("lwm"), lost("hydra")]).empty


def marked(method, constant, **who):
    return network(method, right(90), **who)._replace(constant=constant)


def test_a_network_that_answers_with_one_class_has_no_rank_and_no_rival():
    table = rank([marked("random", True), network("lwm", right(60)), network("hydra", right(50))])
    era = table[table["metric"] == "era"].set_index("method")
    assert era.loc[["lwm", "hydra"], "rank"].tolist() == [1, 2]
    assert era.loc["lwm", "verdict"] == "best"
    assert era.loc["random", "verdict"] == "constant"
    assert era.loc["random", ["rank", "behind", "p_holm"]].isna().all()
    # What it got right is told all the same.
    assert era.loc["random", "mean"] == pytest.approx(0.9)


def test_with_one_seed_that_answers_with_one_class_a_method_has_no_rank():
    table = rank([marked("random", False), marked("random", True, seed=1)])
    assert set(table["verdict"]) == {"constant"}
    assert table["rank"].isna().all()
