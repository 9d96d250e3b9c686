"""Tables of analyses, as their jobs wrote them, and what they add to the summary."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import analysis_table
from sparrow.results import analyses
from tests.conftest import ABOUT

TOLD = {"mine": {"kind": "mine", "scope": "dataset", "tables": {"mine": ["name", "value"]}}}


def read_back(folder: Path, rows: list[tuple]) -> pd.DataFrame:
    """The table of one data set that has these rows."""
    path = folder / "digits/analyses/mine.csv"
    path.parent.mkdir(parents=True)
    analysis_table.write(path, {"mine": ("name", "value")}, {"mine": rows}, ABOUT)
    return analyses.read(path, TOLD).tables["mine"]


@pytest.mark.parametrize("names", [["None", "NA", "null"], ["007", "7"], ["1e5", "1"], ["1.50", "+2"], ["True", "1"]])
def test_texts_that_look_like_numbers_or_nothing_stay_texts(tmp_path: Path, names: list[str]) -> None:
    assert read_back(tmp_path, [(name, 0) for name in names])["name"].tolist() == names


def test_numbers_are_numbers(tmp_path: Path) -> None:
    found = read_back(tmp_path, [(number, 10**number) for number in range(8)])
    assert [(str(kind), found[name].tolist()) for name, kind in found.dtypes.items()] == [
        ("int64", list(range(8))),
        ("int64", [10**number for number in range(8)]),
    ]
    numbers = [0.5, -2.0, 1e-7, 1e20, float("inf"), 12345.6]
    assert read_back(tmp_path / "more", [("x", number) for number in numbers])["value"].tolist() == numbers


def test_truths_are_truths(tmp_path: Path) -> None:
    assert str(read_back(tmp_path, [("x", True), ("y", False)])["value"].dtype) == "bool"


def test_what_is_missing_is_missing_among_numbers_and_texts(tmp_path: Path) -> None:
    found = read_back(tmp_path, [(None, 1), ("a", None), ("b", float("nan"))])
    assert found.isna().to_numpy().tolist() == [[True, False], [False, True], [False, True]]


def done(label: str = "mine") -> analyses.Done:
    return analyses.Done(label, Path("digits"), {}, {"mine": pd.DataFrame({"value": [1]})}, None)


def summarised(monkeypatch: pytest.MonkeyPatch, given: object) -> dict[str, Any]:
    """The columns of an analysis whose summary is that."""
    entry = SimpleNamespace(__file__="mine.py", summary=lambda table: given)
    monkeypatch.setattr(catalogue, "load", lambda room, kind: entry)
    return analyses.summary_of([done()], {"mine": TOLD["mine"] | {"summary": "0"}})


def test_a_summary_has_numbers_under_the_name_of_its_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"low": 0.5, "count": np.int64(3), "mean": np.float32(2), "gap": None}
    assert summarised(monkeypatch, given) == {f"mine_{name}": value for name, value in given.items()}


WRONG = {
    "no dictionary": ([0.5], "[0.5]"),
    "a list": ({"fgsm": [1, 2]}, "fgsm [1, 2]"),
    "rows": ({"low": np.eye(2)}, "low array([[1., 0.], [0., 1.]])"),
    "a text": ({"low": "0.5"}, "low '0.5'"),
    "a truth": ({"low": True}, "low True"),
    "no name": ({1: 0.5}, "the name 1"),
    "words": ({"a mean": 0.5}, "the name 'a mean'"),
}


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG)
def test_a_summary_of_anything_else_is_one_line(monkeypatch: pytest.MonkeyPatch, given: object, words: str) -> None:
    with pytest.raises(SparrowError) as caught:
        summarised(monkeypatch, given)
    assert str(caught.value) == f"mine.py: summary gives {words}; valid: a dictionary of names and numbers"
