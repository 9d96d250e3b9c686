"""What a study that has run says of its own cost."""

from __future__ import annotations

import pytest

from sparrow.cli.main import main
from sparrow.estimate.finished import finished_jobs as known
from sparrow.estimate.work import works
from sparrow.study.load import load_study
from tests.workflow.conftest import TINY, Checkout


def test_every_job_says_what_it_took_until_the_study_changes(finished: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.root)
    study = load_study(TINY)
    assert known(study, works(study)).keys() == {job for work in works(study) for job in work.jobs}
    longer = load_study(TINY | {"training": TINY["training"] | {"pretrain": {"epochs": 6000, "batch_size": 256}}})
    gone = known(study, works(study)).keys() - known(longer, works(longer)).keys()
    assert {job.partition("/seed0/")[2].split("/")[0] for job in gone} == {"dense"}


def test_a_study_that_is_done_says_so(
    finished: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.root)
    assert main(["status", "study.yaml"]) == 0
    first, *table = capsys.readouterr().out.splitlines()
    jobs = sum(len(work.jobs) for work in works(load_study(TINY)))
    assert first == f"study.yaml: done, all {jobs} jobs (results in results/)"
    assert table[-1].split()[:3] == ["total", str(jobs), str(jobs)]
    assert not any("begun" in line for line in table)
