"""Studies of dense networks alone: what they need, and what they leave out."""

from __future__ import annotations

from typing import Any

import pytest

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.study import cells
from sparrow.study.load import load_study
from tests.workflow.conftest import TINY

BARE = {key: value for key, value in TINY.items() if key not in ("methods", "ratios")}
SEED = "digits/cnn-small/benign/seed0"


@pytest.mark.parametrize("methods", [{}, {"methods": TINY["methods"], "ratios": TINY["ratios"]}])
def test_nothing_is_pruned(methods: dict[str, Any]) -> None:
    study = load_study(BARE | methods | {"evaluate": ["dense"]})
    for checkpoints in (cells.checkpoints(study), cells.trainings(study), cells.evaluated(study)):
        assert [found.path for found in checkpoints] == [f"{SEED}/dense"]
    assert cells.cells(study) == []
    assert not cells.prunes(study)


def test_imported_pruned_networks_need_no_method_either() -> None:
    path = f"{SEED}/theirs-0.90/finetuned"
    study = load_study(BARE | {"imports": {path: {"file": "theirs.pth"}}})
    assert [found.path for found in cells.evaluated(study)] == [f"{SEED}/dense", path]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "methods: none, and evaluate is ['dense', 'finetuned']; give a method, or set evaluate to ['dense']"),
        ({"imports": {f"{SEED}/dense": {"file": "x.pth"}}}, "methods: none, and evaluate is ['dense', 'finetuned']"),
        ({"methods": {"lwm": None}}, "ratios: none, and methods.lwm has no `ratios` of its own; give at least one"),
        (
            {"evaluate": ["dense"], "analyses": {"latency": {}}},
            "analyses.latency: compares networks with their dense one, and evaluate names none that are pruned",
        ),
        (
            {"evaluate": ["dense"], "imports": {f"{SEED}/lwm-0.90/pruned": {"file": "x.pth"}}},
            f"imports.{SEED}/lwm-0.90/pruned: nothing evaluates it; add 'pruned' or 'finetuned' to evaluate",
        ),
    ],
)
def test_what_is_missing_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(BARE | change)
    assert str(caught.value).startswith(f"config.yaml: {words}")
    assert "\n" not in str(caught.value)


# What is said of each network by itself.
ALONE = {"certified-radius", "corruptions", "stability"}


@pytest.mark.parametrize("kind", catalogue.kinds("analyses"))
@pytest.mark.parametrize("evaluate", [["dense"], ["dense", "dense+int8"], ["finetuned"]], ids=str)
def test_whatever_compares_networks_is_refused_where_there_is_nothing_to_compare(kind: str, evaluate: list[str]) -> None:
    rounding = {"variants": {"int8": {}}} if "dense+int8" in evaluate else {}
    sections = {"attacks": {"fmn": None}, "verifiers": {"smoothing": None}, "seeds": [0, 1, 2], "evaluate": evaluate} | rounding
    study = TINY | sections | {"analyses": {kind: None}}
    if kind in ALONE:
        assert load_study(study).analyses
        return
    with pytest.raises(ConfigError, match=f"analyses.{kind}: compares networks with their dense one"):
        load_study(study)
