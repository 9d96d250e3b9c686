"""Networks that answer with one class, and dense ones at chance, are told by hand-made outcomes."""

import math
from pathlib import Path

import pandas as pd
import pytest

from sparrow.results import marks
from sparrow.results.outcomes import Outcomes


def outcomes(predictions, labels):
    rows = {"label": labels, "prediction": predictions, "status": "broken", "eps": 0.1}
    return Outcomes(Path("network"), {"pgd": pd.DataFrame(rows, index=range(len(labels)))}, {}, {}, 0.1)


@pytest.mark.parametrize(
    ("predictions", "labels", "constant", "chance"),
    [
        ([3, 3, 3, 3], [3, 3, 1, 2], True, 0.5),
        ([3, 3, 3, 1], [3, 3, 1, 2], False, 0.5),
        # Of images of one class nobody can tell.
        ([3, 3, 3, 3], [3, 3, 3, 3], None, 1.0),
    ],
)
def test_what_is_constant_and_what_is_chance(predictions, labels, constant, chance):
    found = outcomes(predictions, labels)
    assert found.constant() is constant
    assert found.chance() == chance


def test_two_tables_with_two_answers_are_no_constant_network():
    first, second = outcomes([3, 3], [3, 1]), outcomes([1, 1], [3, 1])
    assert Outcomes(Path("network"), first.attacks | {"fgsm": second.attacks["pgd"]}, {}, {}, 0.1).constant() is False


def test_without_outcomes_nothing_is_said():
    nothing = Outcomes(Path("network"), {}, {}, {}, 0.1)
    assert nothing.constant() is None
    assert math.isnan(nothing.chance())


def summary(*rows):
    known = {"dataset": "digits", "model": "mlp", "objective": "trades", "stage": "dense", "constant": False, "chance": 0.1}
    return pd.DataFrame([known | {"benign_low": 0.8} | row for row in rows])


def test_a_sound_study_has_no_marks():
    assert marks.sentences(summary({}, {"stage": "finetuned", "benign_low": 0.05})) == []


def test_constant_networks_are_counted():
    (line,) = marks.sentences(summary({}, {"stage": "finetuned", "constant": True}, {"constant": None}))
    assert line == "1 of 3 networks answer with one class, whatever they see (column `constant`)"


def test_dense_networks_at_chance_are_named_once():
    (line,) = marks.sentences(summary({"benign_low": 0.1}, {"benign_low": 0.04}, {"objective": "benign"}))
    assert line.startswith("the dense networks of digits/mlp/trades are not told from chance")
