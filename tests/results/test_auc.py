"""The chance that one value is below another, its interval and its p-value: by hand, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sparrow.results.auc import Auc, Groups, auc


def groups(first: list[float], second: list[float], start: int = 0) -> Groups:
    values = np.array([*first, *second], dtype=float)
    return Groups(np.arange(start, start + len(values)), values, np.arange(len(values)) < len(first))


def random(seed: int, start: int = 0, shift: float = 1.0, images: int = 40) -> Groups:
    draw = np.random.default_rng(seed)
    return groups(draw.normal(0, 1, images).tolist(), draw.normal(shift, 2, images).tolist(), start)


def one(*networks: Groups, draws: int = 200, fewest: int = 1) -> Auc:
    return auc(list(networks), draws, fewest)


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        # Four pairs won by 1, three by 3, of eight.
        ([1, 3], [2, 4, 5, 6], 7 / 8),
        ([2, 2], [2, 2, 2], 0.5),
        ([1, np.inf], [np.inf, np.inf], 0.75),
        ([5, 6], [1, 2], 0.0),
    ],
)
def test_pairs_are_counted_and_ties_are_half(first: list[float], second: list[float], value: float) -> None:
    assert one(groups(first, second)).value == pytest.approx(value)


def test_of_one_network_p_is_brunner_and_munzels() -> None:
    own = random(0)
    first, second = own.values[own.first], own.values[~own.first]
    assert one(own).p == pytest.approx(stats.brunnermunzel(first, second).pvalue)
    tied = groups([1, 1, 2, 3, 3, 5], [2, 2, 3, 4, 6, 6, 6, np.inf])
    ranks = stats.rankdata(tied.values)
    assert one(tied).p == pytest.approx(stats.brunnermunzel(ranks[tied.first], ranks[~tied.first]).pvalue)
    assert one(own).value == pytest.approx(1 - stats.mannwhitneyu(first, second).statistic / 1600)


def test_without_overlap_p_is_that_of_one_order_of_many() -> None:
    # Of 10 choose 5 = 252 orders two are as extreme.
    assert one(groups([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])) == pytest.approx((1, 1, 1, 2 / 252))
    assert one(groups([1] * 5, [1] * 5)) == pytest.approx((0.5, 0.5, 0.5, 1))


def test_the_interval_is_as_wide_as_delongs() -> None:
    own = random(1, images=60)
    found = one(own, draws=2000)
    below = (own.values[own.first][:, None] < own.values[~own.first]).astype(float)
    error = np.sqrt(below.mean(axis=1).var(ddof=1) / 60 + below.mean(axis=0).var(ddof=1) / 60)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_several_networks_are_averaged_and_the_same_images_count_once() -> None:
    own = random(2, shift=0.4)
    twice, apart = one(own, own, draws=2000), one(own, random(2, 80, shift=0.4), draws=2000)
    assert twice.value == apart.value == pytest.approx(one(own).value)
    # Twice the images, with a variance of half the size.
    assert (twice.high - twice.low) / (apart.high - apart.low) == pytest.approx(2**0.5, rel=0.1)
    assert twice.p == pytest.approx(one(own).p)
    assert stats.norm.isf(apart.p / 2) == pytest.approx(2**0.5 * stats.norm.isf(one(own).p / 2), rel=0.05)


def test_few_different_images_are_little_evidence_however_many_networks_lose_them() -> None:
    own = groups([1, 2.5, 4], np.arange(2, 60).tolist())
    assert one(*[own] * 6).p == pytest.approx(one(own).p)
    # There are 61 choose 3 ways of naming them; by its variance alone it would be 2e-9.
    assert one(own).p == pytest.approx(2 / 35990)
    # Of one image nobody knows how it varies.
    assert np.isnan(one(groups([2.5], [1, 2, 3, 4])).p)


def test_the_mean_is_over_networks_that_lost_something() -> None:
    nothing = groups([], [1, 2, 3])
    assert one(nothing, groups([1, 3], [2, 4, 5, 6])).value == pytest.approx(7 / 8)
    assert one(groups([1], [2]), groups([2], [1])).value == 0.5


@pytest.mark.parametrize("own", [groups([1, 2, 3, 4], range(5, 50)), groups(range(5, 50), [1, 2, 3, 4]), groups([], range(9))])
def test_of_few_images_nothing_is_said(own: Groups) -> None:
    assert np.isnan(auc([own], 100, 5)).all()
    assert np.isnan(auc([], 100, 5)).all()
    assert np.isfinite(auc([own, own], 100, 5)).all() == own.both


def test_what_is_drawn_depends_on_nothing_else() -> None:
    assert one(random(3), draws=150) == one(random(3), draws=150)
    assert one(random(3), random(4), draws=150)[:3] == one(random(3), random(4), draws=150)[:3]
    assert one(random(3), draws=0) == pytest.approx((one(random(3)).value, np.nan, np.nan, np.nan), nan_ok=True)
