"""The default study, smaller, on a Slurm of one node with two GPUs; and what is done about jobs that end early."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from sparrow.jobs import fork_server
from tests.slurm.conftest import SNAKEMAKE, STUDY, Watch, ended, limits, restart_slurmd, scripts, slurm, states, wait_for
from tests.workflow.conftest import Checkout, copy_checkout

pytestmark = pytest.mark.slow

PARENT = "results/digits/cnn-small/adversarial/seed0"
CELL = f"{PARENT}/lwm-0.90"
TABLE = f"{CELL}/finetuned/verifiers/cascade.csv"


TIMED = {"costs.csv", "budgets.csv"}


def reproducible(root: Path) -> dict[str, bytes]:
    """Every result that does not say how long something took."""
    files = [path for path in (root / "results").rglob("*.*") if path.suffix in (".csv", ".safetensors")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name not in TIMED}


def test_results_equal_those_of_a_local_run(local: Checkout, finished: tuple[Checkout, Watch]) -> None:
    expected, found = reproducible(local.root), reproducible(finished[0].root)
    assert {"results/summary.csv", "results/outcomes.csv", f"{CELL}/finetuned.safetensors", TABLE} <= set(expected)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_no_gpu_has_two_jobs(finished: tuple[Checkout, Watch]) -> None:
    _, watch = finished
    assert all(len(set(given.values())) == len(given) for given in watch.together)
    # There was enough to do for both of them.
    assert max(len(given) for given in watch.together) == 2
    assert {gpu for given in watch.together for gpu in given.values()} == {"0", "1"}


def test_a_job_sees_the_gpu_that_it_was_given_and_no_other(finished: tuple[Checkout, Watch]) -> None:
    _, watch = finished
    given = {job: gpu for look in watch.together for job, gpu in look.items()}
    assert len(given) > 2
    assert {job: devices for job, devices in watch.seen.items() if job in given} == {
        job: {given[job]} for job in given if job in watch.seen
    }
    # Data, tables and figures ask for none.
    without = [devices for job, devices in watch.seen.items() if job not in given]
    assert without
    assert all(devices == {None} for devices in without)


def test_a_cell_is_one_submission(finished: tuple[Checkout, Watch]) -> None:
    checkout, _ = finished
    jobs = len(pd.read_csv(checkout.root / "results/costs.csv"))
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", checkout.said)
    # The data, an initial and a dense network, two cells, the dense network's evaluations (the verifier waits for an attack),
    # the report.
    assert len(submitted) == 1 + 1 + 1 + 2 + 4 + 1 < jobs
    logs = list((checkout.root / "logs/slurm").rglob("*.log"))
    assert sorted(path.stem for path in logs) == sorted(submitted)


@pytest.mark.skipif(not fork_server.can_fork(), reason="forking is not safe here")
def test_jobs_of_a_group_share_their_imports(finished: tuple[Checkout, Watch]) -> None:
    checkout, watch = finished
    groups = {path.stem for path in (checkout.root / "logs/slurm").glob("group_*/*.log")}
    assert watch.warm == groups & set(watch.seen)
    assert len(watch.warm) > 2


def test_jobs_of_a_rule_that_is_in_no_group_can_be_one_array(local: Checkout, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path)
    checkout.write(STUDY | {"seeds": [0, 1, 2]})
    command = [*SNAKEMAKE, "--slurm-array-jobs", "initial, pretrain", "--until", "pretrain"]
    done = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (array,) = re.findall(r"SLURM job ID (\d+)\. The individual task IDs are 1-3\.", done.stderr)[:1]
    assert {states()[f"{array}_{task}"] for task in (1, 2, 3)} == {"COMPLETED"}
    # A task's log has no folder of its wildcards, whatever Snakemake says.
    assert {path.name for path in (checkout.root / "logs/slurm/rule_initial").iterdir()} == {
        f"{array}_{n}.log" for n in (1, 2, 3)
    }
    same_seed = f"{PARENT}/dense.safetensors"
    assert (checkout.root / same_seed).read_bytes() == (local.root / same_seed).read_bytes()
    assert all((checkout.root / PARENT.replace("seed0", seed) / "dense.safetensors").exists() for seed in ("seed1", "seed2"))


@dataclass
class Run:
    """Snakemake at work on one cell of a study that was finished before."""

    root: Path
    process: subprocess.Popen
    before: set[str] = field(default_factory=lambda: set(states()))

    def submitted(self) -> list[str]:
        return sorted(set(states()) - self.before, key=int)

    def training(self, attempt: int = 1, unlike: int | None = None) -> tuple[str, int]:
        """That submission, once it fine-tunes: its Slurm job, and the process of the script, another one than `unlike`."""
        found: list[tuple[str, int]] = []

        def look() -> bool:
            for job in self.submitted()[attempt - 1 :]:
                found.extend((job, pid) for pid, words in scripts() if words["SLURM_JOB_ID"] == job and tunes(pid))
            return any(pid != unlike for _, pid in found)

        wait_for(look, f"fine-tuning of attempt {attempt}")
        return found[-1]

    def finish(self) -> str:
        said, _ = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, said[-3000:]
        return said

    def log(self, job: str) -> str:
        (path,) = (self.root / "logs/slurm").rglob(f"{job}.log")
        return path.read_text()


def is_back(node: str) -> bool:
    """Whether a node takes jobs; asks for it if not. One whose slurmd has registered is back, and cannot be resumed."""
    if not slurm("sinfo", "--noheader", "--format=%T", f"--nodes={node}").strip().startswith("down"):
        return True
    with suppress(subprocess.CalledProcessError):
        slurm("scontrol", "update", f"NodeName={node}", "State=resume")
    return False


def tunes(pid: int) -> bool:
    """Whether a process runs the script of a job that fine-tunes: Snakemake's copy of it begins with the job's params."""
    try:
        script = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1].decode()
        return b"sparrow.stages.finetune" in Path(script).read_bytes()
    except OSError:
        return False


@pytest.fixture
def run(finished: tuple[Checkout, Watch], tmp_path: Path) -> Iterator[Run]:
    """The workflow after one cell was lost, running."""
    root = tmp_path / "checkout"
    shutil.copytree(finished[0].root, root)
    shutil.rmtree(root / CELL)
    shutil.rmtree(root / "logs/slurm", ignore_errors=True)
    command = [*SNAKEMAKE, "--group-components", "cell=10", "--", TABLE]
    one = Run(root, subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    yield one
    # Asked to end, Snakemake would wait for its jobs.
    one.process.kill()
    one.process.wait()
    slurm("scancel", "--partition=main")


def same(root: Path, local: Checkout) -> bool:
    files = [f"{CELL}/pruned.safetensors", f"{CELL}/finetuned.safetensors", f"{CELL}/finetuned/attacks/fmn.csv", TABLE]
    return all((root / file).read_bytes() == (local.root / file).read_bytes() for file in files)


def test_what_was_cancelled_or_ran_out_of_time_is_submitted_again_with_more_of_it(run: Run, local: Checkout) -> None:
    first, _ = run.training()
    slurm("scancel", first)
    second, script = run.training(2)
    # It hangs, so that it cannot be done before Slurm looks at the clock.
    os.kill(script, signal.SIGSTOP)
    slurm("scontrol", "update", f"JobId={second}", f"EndTime={datetime.now() + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}")
    said = run.finish()
    assert [states()[job] for job in run.submitted()] == ["CANCELLED", "TIMEOUT", "COMPLETED"]
    # Ten minutes to prune, 20 to fine-tune, 10 to attack, 20 to verify; then three times that.
    assert [limits()[job] for job in run.submitted()[::2]] == ["1:00:00", "3:00:00"]
    assert same(run.root, local)
    # Snakemake names the logs, which say why.
    assert all(f"/{job}.log (check log file(s) for error details)" in said for job in (first, second))
    assert "DUE TO TIME LIMIT" in run.log(second)


def test_what_runs_outlives_slurmd_and_is_queued_again_if_its_node_fails(run: Run, local: Checkout) -> None:
    job, first = run.training()
    restart_slurmd()
    assert states()[job] == "RUNNING"
    (node,) = slurm("sinfo", "--noheader", "--format=%n").split()
    slurm("scontrol", "update", f"NodeName={node}", "State=down", "Reason=test")
    wait_for(lambda: states()[job] != "RUNNING", "the job to be given up")
    wait_for(lambda: is_back(node), "the node to be back")
    _, second = run.training(unlike=first)
    # By then the first attempt is no more, and Snakemake, which still waits, has not submitted another.
    assert ended(first)
    assert not ended(second)
    run.finish()
    assert run.submitted() == [job]
    assert states()[job] == "COMPLETED"
    assert "Restarts=1 " in slurm("scontrol", "show", "job", job)
    assert same(run.root, local)
