"""How far a study is: by hand, from a folder of files made by hand."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import save_file

from sparrow.cli.main import main
from sparrow.estimate.standing import AGE, standing
from sparrow.estimate.work import Work
from sparrow.files.headers import FORMAT
from tests.conftest import write_failed
from tests.default_study import default_study

WORKS = [
    Work("initial", "d", "m", "o", "", jobs=["d/seed0/initial"]),
    Work("pretrain", "d", "m", "o", "", jobs=["d/seed0/dense", "d/seed1/dense", "d/seed2/dense"]),
    Work("attack", "d", "m", "o", "pgd", jobs=["d/a", "d/b"]),
    Work("attack", "d", "m", "other", "pgd", jobs=["d/c"]),
    Work("attack", "d", "m", "o", "fmn", jobs=["d/e", "d/f"]),
]
FINISHED = {"d/seed0/initial": 1.0, "d/seed0/dense": 40.0, "d/seed1/dense": 60.0, "d/a": 6.0}


def test_what_is_left_is_told_from_jobs_of_the_same_kind(tmp_path: Path) -> None:
    whole = standing(WORKS, FINISHED, tmp_path)
    stages = whole.stages
    assert [(one.jobs, one.finished, one.spent, one.left, one.untold) for one in stages.values()] == [
        (1, 1, 1.0, 0.0, 0),
        (3, 2, 100.0, 50.0, 0),
        # One more of the objective's own, one of another objective; nothing says how long fmn takes.
        (5, 1, 6.0, 12.0, 2),
    ]
    assert (whole.total.jobs, whole.total.finished, whole.total.left, whole.total.untold) == (9, 4, 62.0, 2)
    assert whole.begun == []


def test_failed_jobs_are_finished_ones_whose_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "d/seed0").mkdir(parents=True)
    (tmp_path / "d/seed1").mkdir()
    write_failed(tmp_path / "d/a.csv", "no gradient")
    header = {"format": FORMAT, "stage": "dense", "cell": {}, "failed": "diverged"}
    save_file({}, tmp_path / "d/seed1/dense.safetensors", {"sparrow": json.dumps(header)})
    (tmp_path / "d/b.csv").write_text("index,label\n1,2\n")
    found = standing(WORKS, FINISHED | {"d/b": 5.0}, tmp_path).stages
    assert {stage: one.failed for stage, one in found.items()} == {"initial": 0, "pretrain": 1, "attack": 1}


def test_a_job_has_begun_if_it_has_a_log_and_no_cost(tmp_path: Path) -> None:
    logs = {"d/seed2/dense": "epoch 1/3\nepoch 2/3\n", "d/b": "", "d/c": "old\n", "d/e": "made before\n", "d/a": "done\n"}
    for job, text in logs.items():
        log = tmp_path / f"logs/{job}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/e.cost.json").write_text("{}")
    os.utime(tmp_path / "logs/d/c.log", (0, time.time() - 2 * AGE))
    os.utime(tmp_path / "logs/d/b.log", (0, time.time() - 100))
    begun = standing(WORKS, FINISHED, tmp_path).begun
    assert [(one.job, one.line) for one in begun] == [("d/seed2/dense", "epoch 2/3"), ("d/b", "")]
    assert begun[1].silent == pytest.approx(100, abs=30)


def test_a_study_that_has_not_begun_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(default_study()))
    assert main(["status", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(r"study.yaml: none of [\d,]+ jobs done \(results in results/\)\n", said)
