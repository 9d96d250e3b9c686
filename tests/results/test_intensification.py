"""Whether pruning intensifies differences between classes: by hand, and over many draws of images with a known slope."""

import numpy as np
import pandas as pd
import pytest

from sparrow.results.intensification import ALIKE, CONSTANT, INTENSIFIES, NOISE, Pair, Slope, intensifications, slope, verdict


def hits(recalls, sizes):
    """As many images of each class as `sizes` says (images, 1), of which `recalls` are right."""
    return np.concatenate([np.arange(size) < round(recall * size) for recall, size in zip(recalls, sizes, strict=True)])[
        :, None
    ]


def labels(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def test_the_uncorrected_slope_is_that_of_recalls_relative_to_the_accuracy():
    # Accuracies .85 and .73; relative recalls (.05, -.05, -.35) and (.07, -.03, -.53): .1905 / .1275.
    sizes = [80, 10, 10]
    found = slope(hits([0.9, 0.8, 0.5], sizes) * 1.0, hits([0.8, 0.7, 0.2], sizes) * 1.0, labels(sizes))
    assert found.uncorrected == pytest.approx(0.1905 / 0.1275)


def test_the_noise_that_is_taken_away_by_hand():
    # Two classes of 4 images, recalls 1 and 1/2, pruned 3/4 and 1/4, the same images right as far as they are. Relative: 1/4
    # either way, and 1/4; sums 1/8 and 1/8. Variances of a recall: v(dense) 0 and (1/4) * 4 / (4 * 3) = 1/12; covariances 0 in
    # class 0, and in class 1 of (1, 1, 0, 0) and (1, 0, 0, 0): (1/2 * 3/4 + 1/2 * 1/4 * -1 + ...) = 1/2, over 4 * 3 1/24.
    # Half of each is in a sum: (1 - 2/2) v + 2 (1/4) v. So D = 1/8 - 1/24 and N = 1/8 - 1/48.
    dense, pruned = hits([1, 0.5], [4, 4]) * 1.0, hits([0.75, 0.25], [4, 4]) * 1.0
    found = slope(np.repeat(dense, 1, axis=1), pruned, labels([4, 4]))
    assert found.uncorrected == pytest.approx(1)
    many = slope(np.tile(dense, (1000, 1)), np.tile(pruned, (1000, 1)), np.tile(labels([4, 4]), 1000))
    # The same recalls of a thousand times as many images have hardly any noise to take away.
    assert many.value == pytest.approx(1, abs=1e-3)
    assert np.isnan(found.value)  # Four images a class say nothing.


def drawn(low, high, images, truth, draws, seeds=1):
    """Slopes of `draws` studies whose pruned networks have relative recalls `truth` times the dense ones; half of the noise is
    shared by the two."""
    generator, recalls = np.random.default_rng(0), np.linspace(low, high, 10)
    where = labels([images] * 10)
    pruned = recalls.mean() + truth * (recalls - recalls.mean())
    for _ in range(draws):
        first, other = generator.random((2, len(where), seeds))
        second = np.where(generator.random(first.shape) < 0.5, first, other)
        yield slope((first < recalls[where, None]) * 1.0, (second < pruned[where, None]) * 1.0, where)


@pytest.mark.parametrize("truth", [1.0, 1.25])
def test_the_slope_is_the_true_one_on_average_and_lies_in_its_interval_nineteen_times_of_twenty(truth):
    found = list(drawn(0.6, 0.95, 100, truth, 400))
    assert np.nanmedian([one.value for one in found]) == pytest.approx(truth, abs=0.02)
    assert np.median([one.uncorrected for one in found]) < truth - 0.04
    assert 0.92 < np.mean([one.low <= truth <= one.high for one in found]) < 0.98


def test_of_the_default_studys_few_images_there_is_no_slope():
    # 15 images a class, recalls .95 to .99, no intensification: the plain slope has a median far from 1.
    found = list(drawn(0.95, 0.99, 15, 1.0, 100))
    assert sum(not np.isnan(one.value) for one in found) <= 5
    assert np.median([one.uncorrected for one in found]) < 0.6


def test_two_seeds_that_agree_do_not_halve_the_noise_of_the_images():
    sizes = [200, 200]
    dense, pruned, where = hits([0.9, 0.5], sizes) * 1.0, hits([0.8, 0.3], sizes) * 1.0, labels(sizes)
    one, two = slope(dense, pruned, where), slope(np.tile(dense, 2), np.tile(pruned, 2), where)
    assert two[0] == pytest.approx(one[0])
    assert two[1:3] == pytest.approx(one[1:3])


def test_seeds_that_differ_widen_an_interval():
    sizes = [2000, 2000]
    dense, where = np.tile(hits([0.9, 0.5], sizes) * 1.0, 2), labels(sizes)
    alike = np.tile(hits([0.8, 0.3], sizes) * 1.0, 2)
    apart = np.hstack([hits([0.8, 0.4], sizes), hits([0.8, 0.2], sizes)]) * 1.0
    narrow, wide = slope(dense, alike, where), slope(dense, apart, where)
    assert wide.value == pytest.approx(narrow.value, rel=1e-3)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_classes_that_are_known_alike_have_no_slope():
    sizes = [20, 20]
    found = slope(hits([0.5, 0.5], sizes) * 1.0, hits([0.25, 0.75], sizes) * 1.0, labels(sizes))
    assert np.isnan(found[:3]).all()
    assert verdict(found) == ALIKE


@pytest.mark.parametrize(("low", "high", "expected"), [(1.1, 1.9, INTENSIFIES), (0.2, 0.9, "evens out"), (0.9, 1.1, NOISE)])
def test_a_verdict_holds_the_interval_against_one(low, high, expected):
    assert verdict(Slope((low + high) / 2, low, high, 1.0)) == expected


def pair(seed=0, method="lwm", constant=False, images=400):
    index = np.arange(2 * images)
    named = pd.Series(index % 2, index=index)
    dense, pruned = (pd.Series(np.where(named == 0, index % 10 < 9, index % 10 < few), index=index) for few in (7, 5))
    who = {"dataset": "digits", "model": "mlp", "objective": "trades", "method": method, "ratio": 0.9, "stage": "finetuned"}
    nothing = pd.Series(dtype=bool)
    return Pair(
        {**who, "seed": seed},
        named,
        {"benign": dense, "era": dense, "vra": nothing},
        {"benign": pruned, "era": pruned, "vra": nothing},
        constant,
    )


def test_a_row_is_a_cell_and_a_metric_with_images():
    table = intensifications([pair(0), pair(1), pair(0, "hydra")])
    assert table[["method", "metric", "seeds", "classes", "images"]].to_numpy().tolist() == [
        ["lwm", "benign", 2, 2, 800],
        ["lwm", "era", 2, 2, 800],
        ["hydra", "benign", 1, 2, 800],
        ["hydra", "era", 1, 2, 800],
    ]
    # Recalls 1 and .6 (of 0, 2, 4, 6, 8 and 1, 3, 5, 7, 9 all and three), pruned 1 and .4: 1.5 times the distance.
    assert table["uncorrected"].tolist() == pytest.approx([1.5] * 4)
    assert table["verdict"].tolist() == [INTENSIFIES] * 4


def test_a_network_that_answers_with_one_class_has_no_slope():
    (row, _) = intensifications([pair(0), pair(1, constant=True)]).to_dict("records")
    assert row["verdict"] == CONSTANT
    assert np.isnan([row["intensification"], row["low"], row["high"]]).all()


def test_a_study_without_pruned_networks_has_an_empty_table():
    assert intensifications([]).empty
