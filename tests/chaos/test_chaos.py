"""A study that is killed again and again, job by job and as a whole, ends with the results of one that nobody touched."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sparrow.jobs import interruption
from tests.workflow.conftest import TINY, Checkout, copy_checkout

KILLS = int(os.environ.get("SPARROW_CHAOS_KILLS", "25"))
SEED = int(os.environ.get("SPARROW_CHAOS_SEED", "0"))
GRACE = 60
"""Seconds within which everything that belongs to a killed workflow has to be gone."""

# Every stage, methods with a state of their own, and jobs long enough to be hit.
STUDY = TINY | {
    "objectives": {"adversarial": {"steps": 5}, "crown-ibp": None},
    "methods": {"deadwooding": None, "harp": {"granularity": "filter"}, "lwm": {"steps": 3}},
    "training": {
        "pretrain": {"epochs": 8, "batch_size": 64, "ramp_epochs": 4},
        "prune": {"epochs": 8, "batch_size": 64},
        "finetune": {"epochs": 8, "batch_size": 64},
    },
    "attacks": {
        "pgd": {"samples": 100, "batch_size": 10, "restarts": 3},
        "fmn": {"samples": 60, "batch_size": 10, "keep_examples": True},
    },
    "verifiers": {
        "cascade": {
            "samples": 30,
            "batch_size": 10,
            "attacks": ["fmn"],
            "bounds": ["ibp", "crown", "branch-and-bound"],
            "domains": 20,
            "iterations": 2,
            "seconds": 600,
        },
        "smoothing": {"samples": 30, "n": 200, "n0": 20},
    },
    "analyses": {"stability": {"samples": 30}},
}


@pytest.mark.slow
def test_a_study_killed_at_will_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    calm = _checkout(tmp_path / "calm")
    calm.run("--rerun-incomplete")
    chaos = _checkout(tmp_path / "chaos")
    dice, kills, resumed = random.Random(SEED), dict.fromkeys(ACTIONS, 0), set()
    while sum(kills.values()) < KILLS:
        status = _run_and_kill(chaos.root, dice, kills, resumed)
        _all_gone(chaos.root)
        if status == 0:
            # It got through with fewer kills than were wanted: from the start again.
            _compare(chaos.root, calm.root)
            shutil.rmtree(chaos.root / "results")
        # What the page on clusters says after a killed run.
        chaos.run("--unlock")
    chaos.run("--rerun-incomplete")
    print(f"{kills} kills; {len(resumed)} resume points were there when something was hit")
    _all_gone(chaos.root)
    assert resumed, "no job was ever resumed: nothing was tested"
    _compare(chaos.root, calm.root)
    assert not list((chaos.root / ".snakemake/locks").glob("*"))
    assert chaos.planned("--rerun-incomplete") == []


def _checkout(root: Path) -> Checkout:
    root.mkdir()
    checkout = copy_checkout(root)
    checkout.write(STUDY)
    return checkout


# What is hit, and by which signal. Snakemake itself ends in good order on SIGTERM: it waits for its jobs.
ACTIONS = {
    "a job, SIGKILL": (4, signal.SIGKILL),
    "a job, SIGTERM": (4, signal.SIGTERM),
    "the workflow, SIGKILL": (1, signal.SIGKILL),
    "the workflow, SIGINT": (1, signal.SIGINT),
    "the workflow, SIGTERM": (1, signal.SIGTERM),
    "Snakemake alone, SIGKILL": (1, signal.SIGKILL),
    "the warm server, SIGKILL": (1, signal.SIGKILL),
}


def _run_and_kill(root: Path, dice: random.Random, kills: dict[str, int], resumed: set[str]) -> int:
    """One run of the workflow, which ends by itself or is ended; its exit status."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2", "--rerun-incomplete", "-k"]
    environment = os.environ | {"SPARROW_RESUME_SECONDS": "0.1"}
    with open(root / "said.txt", "a") as said:
        snakemake = subprocess.Popen(
            command, cwd=root, env=environment, stdout=said, stderr=said, start_new_session=True, text=True
        )
    while snakemake.poll() is None and sum(kills.values()) < KILLS:
        _wait(root, dice)
        jobs = _jobs(root)
        if not jobs:
            continue
        action = dice.choices(list(ACTIONS), [weight for weight, _ in ACTIONS.values()])[0]
        target, number = action.rsplit(", ", 1)[0], ACTIONS[action][1]
        resumed |= {str(path.relative_to(root)) for path in (root / "results").rglob("*.resume.safetensors")}
        try:
            if target == "a job":
                dice.choice(jobs).send_signal(number)
            elif target == "the workflow":
                os.killpg(snakemake.pid, number)
            elif target == "Snakemake alone":
                snakemake.send_signal(number)
            else:
                dice.choice([process for process in _processes(root) if _is_server(process)]).send_signal(number)
        except (psutil.NoSuchProcess, ProcessLookupError, IndexError):
            continue  # It was faster.
        kills[action] += 1
        if target in ("the workflow", "Snakemake alone"):
            snakemake.wait(timeout=GRACE)
    return snakemake.wait()


def _wait(root: Path, dice: random.Random) -> None:
    """For a while, or (more often than chance would have it) until a job has come to a resume point."""
    limit = time.monotonic() + dice.uniform(0.5, 7)
    at_a_point = dice.random() < 0.6
    while time.monotonic() < limit and not (at_a_point and any((root / "results").rglob("*.resume.safetensors"))):
        time.sleep(0.05)


def _processes(root: Path) -> list[psutil.Process]:
    """Everything that runs in the checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()).is_relative_to(root) and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.AccessDenied, psutil.NoSuchProcess, FileNotFoundError):
            continue
        if inside:
            found.append(process)
    return found


def _is_server(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-2:-1] == ["sparrow.jobs.fork_server"] and process.parent().cmdline() != process.cmdline()
    except (psutil.NoSuchProcess, AttributeError):
        return False


def _jobs(root: Path) -> list[psutil.Process]:
    """Jobs: what Snakemake has started, and what the warm server has forked."""
    found = []
    for process in _processes(root):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        forked = "sparrow.jobs.fork_server" in command and not _is_server(process)
        if forked or (".snakemake/scripts/" in command and "bash" not in command.split()[0]):
            found.append(process)
    return found


def _all_gone(root: Path) -> None:
    limit = time.monotonic() + GRACE
    while left := _processes(root):
        assert time.monotonic() < limit, f"still there: {[process.cmdline() for process in left]}"
        time.sleep(0.1)


def _compare(root: Path, calm: Path) -> None:
    found, expected = _contents(root), _contents(calm)
    assert found.keys() == expected.keys()
    assert [name for name, content in found.items() if content != expected[name]] == []


def _contents(root: Path) -> dict[str, bytes]:
    """All results but those that hold times, by name: nothing more, and nothing less."""
    timed = {"costs.csv", "budgets.csv", "tables/costs.html", "tables/summary.html", "tables/ranking.html"}
    return {
        str(path.relative_to(root / "results")): path.read_bytes()
        for path in sorted((root / "results").rglob("*"))
        if path.is_file()
        and "logs" not in path.relative_to(root / "results").parts
        and not path.name.endswith("cost.json")
        and str(path.relative_to(root / "results")) not in timed
    }


def test_the_harness_tells_an_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orphan = subprocess.Popen(["sleep", "600"], cwd=tmp_path)
    monkeypatch.setattr("tests.chaos.test_chaos.GRACE", 0.2)
    try:
        with pytest.raises(AssertionError, match="still there"):
            _all_gone(tmp_path)
    finally:
        orphan.kill()
        orphan.wait()
    _all_gone(tmp_path)


def test_the_harness_sends_what_jobs_listen_to() -> None:
    sent = {number for _, number in ACTIONS.values()}
    assert sent - {signal.SIGKILL} <= set(interruption.SIGNALS)
