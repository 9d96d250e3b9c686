"""The Slurm that `make slurm-test` starts, what it and its jobs say of themselves, and a study that has been run on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparrow.jobs import fork_server
from tests.default_study import default_study
from tests.workflow.conftest import Checkout, copy_checkout

FOLDER = os.environ.get("SPARROW_SLURM")

# The default study, with all its sections, in seconds instead of minutes.
STUDY = default_study() | {
    "objectives": {"adversarial": {"steps": 2}},
    "methods": {"lwm": None},
    "ratios": [0.9, 0.99],
    "training": {stage: {"epochs": 2, "batch_size": 256, "lr": 0.1} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {
        "pgd": {"samples": 20, "steps": 2},
        "autoattack": {"samples": 10, "steps": 2, "queries": 10},
        "fmn": {"samples": 20, "steps": 5},
    },
    "verifiers": {"cascade": {"samples": 10, "attacks": ["fmn"], "iterations": 2}},
    "analyses": {"stability": {"samples": 20}},
}

# Of the profile this changes only how long Snakemake waits between two looks, and what the tests read afterwards.
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml"]
SNAKEMAKE += ["--workflow-profile", "workflow/profiles/slurm", "--slurm-status-command", "squeue"]
SNAKEMAKE += ["--slurm-init-seconds-before-status-checks", "1", "--slurm-keep-successful-logs"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FOLDER:
        return
    missing = "Slurm is not installed" if shutil.which("sbatch") is None else "not in a Slurm that tests may disturb"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"{missing}: `make slurm-test` starts one"))


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def states() -> dict[str, str]:
    """The state of every job that Slurm remembers."""
    return dict(line.split() for line in slurm("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines())


def limits() -> dict[str, str]:
    """The time limit of every job that Slurm remembers."""
    return dict(line.split() for line in slurm("squeue", "--noheader", "--states=all", "--format=%i %l").splitlines())


def ended(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def restart_slurmd() -> None:
    """End slurmd, at once, and start it again; what runs goes on under its own slurmstepd."""
    pid = int(Path(FOLDER, "slurmd.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ended(pid), "slurmd to end")
    subprocess.run(["slurmd"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def scripts() -> Iterator[tuple[int, dict[str, str]]]:
    """Each script of a rule that runs in a Slurm job on this machine: its process, and the environment that it was given."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")  # python, script
            found = b".snakemake/scripts/" in b"".join(command[1:2])
            environment = (process / "environ").read_bytes().decode().split("\0") if found else []
        except OSError:  # It has ended.
            continue
        words = dict(word.split("=", 1) for word in environment if "=" in word)
        if "SLURM_STEP_ID" in words:
            yield int(process.name), words


def wait_for(happened, what: str, seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.2)):
        if happened():
            return
        time.sleep(0.2)
    pytest.fail(f"waited {seconds:.0f} s for {what}")


@dataclass
class Watch:
    """What was seen while a study ran."""

    together: list[dict[str, str]] = field(default_factory=list)
    """Per look: the GPU that Slurm had given to each running job that asked for one."""
    seen: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    """Per Slurm job: every CUDA_VISIBLE_DEVICES in the environment of a script that it ran."""
    warm: set[str] = field(default_factory=set)
    """Slurm jobs whose scripts were told of a server that has the imports done."""

    def look(self) -> None:
        running = {}
        for job in slurm("scontrol", "--details", "--oneliner", "show", "job").splitlines():
            words = dict(word.split("=", 1) for word in job.split() if "=" in word)
            if words.get("JobState") == "RUNNING" and "IDX:" in job:
                running[words["JobId"]] = job.split("IDX:")[1].split(")")[0]
        self.together.append(running)
        for _, words in scripts():
            self.seen[words["SLURM_JOB_ID"]].add(words.get("CUDA_VISIBLE_DEVICES"))
            if fork_server.VARIABLE in words:
                self.warm.add(words["SLURM_JOB_ID"])


@contextmanager
def watching() -> Iterator[Watch]:
    watch, done = Watch(), threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            watch.look()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The study, run without Slurm."""
    checkout = copy_checkout(tmp_path_factory.mktemp("local"))
    checkout.write(STUDY)
    checkout.run()
    return checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Watch]:
    """The study, run by Slurm, a cell at a time so that there are more submissions than GPUs."""
    checkout = copy_checkout(tmp_path_factory.mktemp("slurm"))
    checkout.write(STUDY)
    with watching() as watch:
        command = [*SNAKEMAKE, "--group-components", "cell=1", "report=1000"]
        done = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, check=False)
    checkout.said = done.stderr
    assert done.returncode == 0, checkout.said[-3000:]
    return checkout, watch
