"""A flag that an entry's file sets to False counts as one that it does not set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sparrow import catalogue
from sparrow.attacks import fmn, pgd
from sparrow.stages.attack import attack
from sparrow.study import cells, job_specs
from sparrow.study.load import load_study
from sparrow.verifiers import crown, ibp

STUDY = {
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"adversarial": None},
    "methods": {"lwm": None},
    "ratios": [0.9],
    "seeds": [0],
    "training": {stage: {"epochs": 1} for stage in ("pretrain", "prune", "finetune")},
    "threat": {"norm": "linf", "eps": 0.1},
    "attacks": {"pgd": {"eps": [0.05, 0.1]}},
    "verifiers": {"ibp": None, "crown": None},
}


@pytest.fixture(autouse=True)
def _flags_set_to_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgd, "MINIMUM_NORM", False, raising=False)
    for verifier in (ibp, crown):
        monkeypatch.setattr(verifier, "SMOOTHED", False, raising=False)


def test_flag_is_its_value() -> None:
    names = {("attacks", "pgd", "MINIMUM_NORM"), ("verifiers", "ibp", "SMOOTHED"), ("attacks", "fgsm", "MINIMUM_NORM")}
    assert not any(catalogue.flag(*name) for name in names)
    assert catalogue.flag("attacks", "fmn", "MINIMUM_NORM")
    assert catalogue.flag("verifiers", "smoothing", "SMOOTHED")


def test_a_study_takes_such_an_attack_for_one_inside_the_ball_and_such_a_verifier_for_one_of_the_network() -> None:
    # Several radii are refused of an attack that finds distances by itself.
    study = load_study(STUDY)
    aggregated = job_specs.aggregate_spec(study)["objectives"]["adversarial"]
    assert aggregated["minimum_norm"] == []
    assert aggregated["smoothed"] == []
    assert cells.metrics_of(study, "adversarial") == ["era", "vra"]


def test_an_attack_whose_flag_is_false_is_projected(
    dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distances(entry: object, kind: str) -> pd.Series:
        monkeypatch.setattr(entry, "attack", lambda model, images, *rest: 1 - images)
        spec = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "attack": {"kind": kind, "samples": 50}}
        attack(dense, digits, tmp_path / "t.csv", tmp_path / "c.json", spec | {"threat": {"norm": "linf", "eps": 1e-3}})
        return pd.read_csv(tmp_path / "t.csv").query("label == prediction")["distance"]

    # The negative of an image is far away: a distance counts only for an attack that looks for the nearest.
    assert distances(fmn, "fmn").between(0.5, 1.0).any()
    assert not distances(pgd, "pgd").between(1e-2, 1.0).any()
