"""The default study, smaller, on a Slurm of one node with two GPUs; and what is done about jobs that end early."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from tests.slurm.conftest import SNAKEMAKE, Watch, limits, restart_slurmd, slurm, states, wait_for
from tests.workflow.conftest import Checkout

pytestmark = pytest.mark.slow

PARENT = "results/digits/cnn-small/adversarial/seed0"
CELL = f"{PARENT}/lwm-0.90"
TABLE = f"{CELL}/finetuned/verifiers/cascade.csv"


def reproducible(root: Path) -> dict[str, bytes]:
    """Every result that does not say how long something took."""
    files = [path for path in (root / "results").rglob("*.*") if path.suffix in (".csv", ".safetensors")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != "costs.csv"}


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
    # The data, a dense network, two cells, the dense network's evaluations (the verifier waits for an attack), the report.
    assert len(submitted) == 1 + 1 + 2 + 4 + 1 < jobs
    logs = list((checkout.root / "logs/slurm").rglob("*.log"))
    assert sorted(path.stem for path in logs) == sorted(submitted)


@dataclass
class Run:
    """Snakemake at work on one cell of a study that was finished before."""

    root: Path
    process: subprocess.Popen
    before: set[str] = field(default_factory=lambda: set(states()))

    def job(self) -> str:
        """The one submission, once its fine-tuning is under way."""
        log = self.root / "results/logs/digits/cnn-small/adversarial/seed0/lwm-0.90/finetuned.log"
        wait_for(log.exists, "fine-tuning to start")
        (job,) = self.submitted()
        assert states()[job] == "RUNNING"
        return job

    def submitted(self) -> list[str]:
        return sorted(set(states()) - self.before, key=int)

    def finish(self) -> str:
        said, _ = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, said[-3000:]
        return said


@pytest.fixture
def run(finished: tuple[Checkout, Watch], tmp_path: Path) -> Iterator[Run]:
    """The workflow after one cell was lost, running."""
    root = tmp_path / "checkout"
    shutil.copytree(finished[0].root, root)
    shutil.rmtree(root / CELL)
    shutil.rmtree(root / "results/logs/digits/cnn-small/adversarial/seed0/lwm-0.90")
    command = [*SNAKEMAKE, "--group-components", "cell=10", "--", TABLE]
    one = Run(root, subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    yield one
    one.process.terminate()
    one.process.wait()


def same(root: Path, local: Checkout) -> bool:
    files = [f"{CELL}/pruned.safetensors", f"{CELL}/finetuned.safetensors", f"{CELL}/finetuned/attacks/fmn.csv", TABLE]
    return all((root / file).read_bytes() == (local.root / file).read_bytes() for file in files)


def test_a_cancelled_job_is_submitted_again(run: Run, local: Checkout) -> None:
    job = run.job()
    slurm("scancel", job)
    said = run.finish()
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in said
    assert [states()[one] for one in run.submitted()] == ["CANCELLED", "COMPLETED"]
    assert same(run.root, local)


def test_a_job_over_its_time_limit_gets_more_time(run: Run, local: Checkout) -> None:
    job = run.job()
    asked = limits()[job]
    slurm("scontrol", "update", f"JobId={job}", "TimeLimit=00:00:01")
    said = run.finish()
    assert f"SLURM-job '{job}' failed, SLURM status is: 'TIMEOUT'" in said
    assert [states()[one] for one in run.submitted()] == ["TIMEOUT", "COMPLETED"]
    # Ten minutes to prune, 20 to fine-tune, 10 to attack, 20 to verify; twice that.
    assert (asked, limits()[run.submitted()[1]]) == ("1:00:00", "2:00:00")
    assert same(run.root, local)


def test_a_job_outlives_a_restart_of_slurmd(run: Run, local: Checkout) -> None:
    job = run.job()
    restart_slurmd()
    run.finish()
    assert run.submitted() == [job]
    assert states()[job] == "COMPLETED"
    assert same(run.root, local)


def test_a_job_whose_node_fails_runs_once_more_and_never_twice_at_once(run: Run, local: Checkout) -> None:
    job = run.job()
    node = slurm("sinfo", "--noheader", "--format=%n").strip()
    slurm("scontrol", "update", f"NodeName={node}", "State=down", "Reason=test")
    wait_for(lambda: states()[job] != "RUNNING", "the job to be given up")
    slurm("scontrol", "update", f"NodeName={node}", "State=resume")
    said = run.finish()
    assert f"SLURM-job '{job}' failed due to a node failure" in said
    # Slurm has not queued the first one again: Snakemake's retry is the only one.
    assert [states()[one] for one in run.submitted()] == ["NODE_FAIL", "COMPLETED"]
    assert same(run.root, local)
