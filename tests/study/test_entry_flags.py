"""A flag that an entry's Params set to False counts as one that they do not set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sparrow.attacks import fmn, pgd
from sparrow.stages.attack import attack
from sparrow.study import cells, job_specs
from sparrow.study.load import load_study
from sparrow.verifiers import crown, ibp, smoothing

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


def test_a_study_takes_such_an_attack_for_one_inside_the_ball_and_such_a_verifier_for_one_of_the_network() -> None:
    assert (pgd.Params.minimum_norm, fmn.Params.minimum_norm) == (False, True)
    assert (ibp.Params.smoothed, crown.Params.smoothed, smoothing.Params.smoothed) == (False, False, True)
    # Several radii are refused of an attack that finds distances by itself.
    study = load_study(STUDY)
    aggregated = job_specs.aggregate_spec(study).objectives["adversarial"]
    assert aggregated.minimum_norm == []
    assert aggregated.smoothed == []
    assert cells.metrics_of(study, "adversarial") == ["era", "vra"]


@pytest.mark.parametrize("flag", [True, False])
def test_an_attack_whose_flag_is_false_is_projected(
    flag: bool, dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgd, "attack", lambda model, images, *rest: 1 - images)
    monkeypatch.setattr(pgd.Params, "minimum_norm", flag)
    spec = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "attack": {"kind": "pgd", "samples": 50}}
    attack(dense, digits, tmp_path / "t.csv", tmp_path / "c.json", spec | {"threat": {"norm": "linf", "eps": 1e-3}})
    distances = pd.read_csv(tmp_path / "t.csv").query("label == prediction")["distance"]
    # The negative of an image is far away: a distance counts only for an attack that looks for the nearest.
    assert distances.between(1e-2, 1.0).any() == flag
