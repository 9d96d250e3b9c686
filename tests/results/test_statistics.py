"""Intervals, against textbooks, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from sparrow.results.statistics import accuracy, mean_over_seeds, preserved


def outcomes(right, of):
    return np.arange(of) < right


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        # By hand: z^2 / (n + z^2), with z = 1.959964.
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 1998, table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_those_of_the_textbook(right, of, low, high):
    assert accuracy(outcomes(right, of)) == pytest.approx((right / of, low, high), abs=5e-5)


def test_no_image_has_no_accuracy():
    assert all(map(math.isnan, accuracy(outcomes(0, 0))))


def test_a_hand_computed_preservation():
    # 6 images right in both, 1 in the pruned network only, 3 in the dense one only, 2 in neither.
    pruned = np.array([1] * 6 + [1] + [0] * 3 + [0] * 2, dtype=bool)
    dense = np.array([1] * 6 + [0] + [1] * 3 + [0] * 2, dtype=bool)
    factor = math.exp(1.959964 * math.sqrt((1 + 3) / (7 * 9)))
    assert preserved(pruned, dense) == pytest.approx((7 / 9, 7 / 9 / factor, 7 / 9 * factor), rel=1e-6)


def test_nothing_can_be_preserved_of_nothing():
    assert all(map(math.isnan, preserved(outcomes(3, 10), outcomes(0, 10))))


def test_nothing_left_is_zero_without_an_interval():
    ratio, low, high = preserved(outcomes(0, 10), outcomes(3, 10))
    assert ratio == 0
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_same_outcomes_are_preserved_for_certain():
    assert preserved(outcomes(7, 10), outcomes(7, 10)) == (1, 1, 1)


def test_more_than_everything_can_be_preserved():
    ratio, low, _ = preserved(outcomes(90, 100), outcomes(60, 100))
    assert ratio == 1.5
    assert low > 1


def test_the_pairing_of_the_images_counts():
    # The same two accuracies; the outcomes agree in one case, and are opposite in the other.
    dense, agreeing = outcomes(50, 100), outcomes(50, 100)
    agreed, opposed = preserved(agreeing, dense), preserved(~agreeing, dense)
    assert agreed[2] - agreed[1] < opposed[2] - opposed[1]


def test_the_interval_of_a_preservation_covers_the_truth():
    # Dense right with 0.8; of those the pruned network keeps 0.85, of the others it gains 0.1: the ratio is 0.875.
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        dense = generator.random(300) < 0.8
        pruned = generator.random(300) < np.where(dense, 0.85, 0.1)
        _, low, high = preserved(pruned, dense)
        covered += low <= 0.7 / 0.8 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_interval_over_seeds_is_students():
    values = np.array([0.71, 0.74, 0.69, 0.75])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert mean_over_seeds(values) == pytest.approx((values.mean(), low, high))


def test_seeds_that_agree_leave_no_doubt():
    assert mean_over_seeds(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5, 0.5)
