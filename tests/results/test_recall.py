"""Recall by class and what pruning does to it, by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest

from sparrow.results.outcomes import Outcomes
from sparrow.results.recall import recalls, relative

# Three images of class 0, two of class 1, one of class 5; no image of any other class.
LABELS = [0, 0, 0, 1, 1, 5]


def table(status, wrong=(), images=range(6)):
    """An outcome table; `status` holds one word per image."""
    rows = [
        {"index": image, "label": LABELS[image], "prediction": 9 if image in wrong else LABELS[image], "status": word}
        for image, word in zip(images, status, strict=True)
    ]
    return pd.DataFrame(rows).set_index("index").assign(eps=0.1)


def outcomes(attacks=None, verifiers=None):
    """Image 0 is misclassified; image 3 falls to the attack; images 1 and 5 are verified."""
    attacked = table(["broken", "robust", "robust", "broken", "robust", "robust"], wrong={0})
    verified = table(["falsified", "verified", "unknown", "unknown", "unknown", "verified"], wrong={0})
    return Outcomes(Path("network"), attacks or {"pgd": attacked}, verifiers or {"crown": verified}, {}, 0.1)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("class", [0, 1, 5]),
        ("recall_benign", [2 / 3, 1, 1]),
        ("recall_benign_n", [3, 2, 1]),
        ("recall_era", [2 / 3, 1 / 2, 1]),
        ("recall_era_n", [3, 2, 1]),
        ("recall_vra", [1 / 3, 0, 1]),
        ("recall_vra_n", [3, 2, 1]),
    ],
)
def test_a_recall_is_what_one_counts_by_hand(column, values):
    assert recalls(outcomes())[column].tolist() == pytest.approx(values)


def test_a_class_without_images_has_no_row():
    assert 2 not in recalls(outcomes())["class"].tolist()


def test_a_class_that_no_verifier_has_seen_has_no_vra():
    seen = table(["verified", "unknown"], images=[1, 2])
    found = recalls(outcomes(verifiers={"crown": seen})).set_index("class")
    assert found.loc[0, ["recall_vra", "recall_vra_n"]].tolist() == [0.5, 2]
    assert math.isnan(found.loc[5, "recall_vra"])


def test_a_class_that_no_verifier_has_seen_keeps_its_other_recalls():
    seen = table(["verified", "unknown"], images=[1, 2])
    assert recalls(outcomes(verifiers={"crown": seen})).set_index("class").loc[5, "recall_era"] == 1


def test_an_image_is_robust_if_it_survives_every_attack():
    second = table(["broken", "robust", "broken", "robust", "robust", "robust"], wrong={0})
    found = recalls(outcomes(attacks={"pgd": outcomes().attacks["pgd"], "fgsm": second}))
    assert found["recall_era"].tolist() == pytest.approx([1 / 3, 1 / 2, 1])


# Three classes of 80, 10 and 10 images, by hand: the accuracies are .85 and .73.
SIZES = pd.Series([80, 10, 10])


@pytest.mark.parametrize(
    ("recall", "expected"), [([0.9, 0.8, 0.5], [0.05, -0.05, -0.35]), ([0.8, 0.7, 0.2], [0.07, -0.03, -0.53])]
)
def test_relative_recalls_are_distances_from_the_accuracy(recall, expected):
    # Every image counts once, not every class.
    assert relative(pd.Series(recall), SIZES).tolist() == pytest.approx(expected)


def test_relative_recalls_leave_out_classes_without_one():
    found = relative(pd.Series([0.9, math.nan, 0.5]), pd.Series([30, 0, 10]))
    assert found[[0, 2]].tolist() == pytest.approx([0.1, -0.3])
    assert math.isnan(found[1])
