"""What Snakemake says while it runs, understood; and what a terminal shows of it."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
import yaml

from sparrow.cli import run
from sparrow.cli._display import Display, drawn
from sparrow.cli._said import Said
from sparrow.cli.main import main
from sparrow.estimate.standing import Standing, Whole, spoken

BEGIN = """Using workflow specific profile workflow/profiles/default for setting default command line arguments.
Building DAG of jobs...
Job stats:
job           count
----------  -------
data              1
total            12

[Mon Nov 30 14:06:20 2026]
Job 3: Pre-train cnn-small on digits (benign, seed 0)
[Mon Nov 30 14:06:20 2026]
Job 4: Prepare digits: load, split, store
warning: results/a.csv: without crown
Finished jobid: 3 (Rule: pretrain)
1 of 12 steps (8%) done
warning: results/a.csv: without crown
"""


def said(text: str) -> Said:
    found = Said()
    for line in text.splitlines():
        found.read(line)
    return found


def test_steps_running_jobs_and_warnings_are_understood() -> None:
    found = said(BEGIN)
    assert (found.done, found.steps, found.begun) == (1, 12, True)
    assert found.running == {"4": "Prepare digits: load, split, store"}
    assert found.told == ["warning: results/a.csv: without crown"]


def test_a_study_that_is_refused_says_why_and_nothing_else() -> None:
    found = said("Using workflow specific profile x\nstudy.yaml: verifiers.ipb: unknown verifier 'ipb'\n")
    assert not found.begun
    assert found.reasons() == ["study.yaml: verifiers.ipb: unknown verifier 'ipb'"]


def test_a_run_that_fails_is_told_from_the_first_error_on() -> None:
    error = ["Error in rule pretrain:", "    message: Pre-train", *(f"    line {n}" for n in range(100)), "Exiting"]
    found = said(BEGIN + "\n".join(error)).reasons()
    assert found[0] == "Error in rule pretrain:"
    assert found[-1] == "Exiting"
    assert "..." in found
    assert len(found) < 50


def test_bars_are_full_only_where_all_is_done() -> None:
    stages = {
        "pretrain": Standing("pretrain", 3, 3, 0, 60.0, 0.0),
        "attack": Standing("attack", 100, 99, 2, 99.0, 130.0),
        "verify": Standing("verify", 100, 0, 0, 0.0, 0.0, 100),
    }
    first, pretrain, attack, verify, job = drawn(said(BEGIN), Whole(stages))
    assert first.endswith("  1 of 12 steps  2 min, and more, of computing left")
    assert (pretrain.count("█"), pretrain.count("░")) == (24, 0)
    assert (attack.count("█"), attack.count("░")) == (23, 1)
    assert attack.endswith("attack 99 of 100  2 failed, recorded")
    assert verify.count("█") == 0
    assert job == "  Prepare digits: load, split, store"
    assert drawn(Said(), None) == ["planning the study ..."]
    assert drawn(said(BEGIN), None, stopping=True)[-1].startswith("stopping: what runs saves what it has")


def test_many_jobs_are_named_as_far_as_there_is_room() -> None:
    found = said(BEGIN + "\n".join(f"Job {n}: Attack {n}" for n in range(10, 20)))
    assert drawn(found, None)[1:] == [
        "  Prepare digits: load, split, store",
        *(f"  Attack {n}" for n in (10, 11, 12)),
        "  and 7 more",
    ]


def test_what_was_drawn_is_drawn_over() -> None:
    terminal = io.StringIO()
    display = Display(terminal)
    display.show(said(BEGIN), None)
    display.show(said(BEGIN), None)
    display.clear()
    frames = terminal.getvalue().split("\x1b[2F\x1b[J")
    assert len(frames) == 3
    assert frames[0] == frames[1]
    assert frames[2] == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3570, "1 h 0 min"), (3 * 3600 + 1200, "3 h 20 min"), (52 * 3600, "2 d 4 h")],
)
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_a_study_runs_where_its_snakefile_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "study.yaml"]) == 1
    assert "error: Snakefile: not in " in capsys.readouterr().err
    Path("Snakefile").touch()
    assert main(["run", "study.yaml"]) == 1
    assert capsys.readouterr().err == "error: study.yaml: no such file; valid: a study such as config.yaml\n"


@pytest.mark.parametrize("status", [0, 1])
def test_a_run_that_ends_well_names_the_report_that_it_has_made(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = yaml.safe_load(Path("config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").touch()
    Path("study.yaml").write_text(yaml.safe_dump(study | {"results": "found"}))
    ends: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], status)
    monkeypatch.setattr(run.subprocess, "run", lambda command, check: ends)
    assert main(["run", "study.yaml"]) == status
    assert capsys.readouterr().out == "", "none has been made yet"
    page = Path("found/tables/report.html")
    page.parent.mkdir(parents=True)
    page.touch()
    assert main(["run", "study.yaml"]) == status
    assert capsys.readouterr().out == ("" if status else f"The study's report: {page}\n")
    assert main(["run", "study.yaml", "--dry-run"]) == status
    assert capsys.readouterr().out == "", "nothing was run"
