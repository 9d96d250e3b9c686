"""What the profile for Slurm asks for, where there is none: `make slurm-test` runs it on a real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from tests.workflow.conftest import REPOSITORY, TINY, Checkout

PROFILE = yaml.safe_load((REPOSITORY / "workflow/profiles/slurm/config.yaml").read_text())
CELL = "results/digits/cnn-small/benign/seed0/lwm-0.90"


def rules() -> dict[str, str]:
    """Every rule's text by its name, without `all`; a rule that uses another one has its text, too."""
    found: dict[str, str] = {}
    for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        parts = re.split(r"^(?:use )?rule (\w+)(?: as (\w+) with)?:$", file.read_text(), flags=re.MULTILINE)
        for name, other, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            found[other or name] = found[name] + text if other else text
    return found


def test_every_rule_says_what_it_asks_for() -> None:
    assert set(PROFILE["set-resources"]) == set(rules())
    assert all("runtime" in resources for resources in PROFILE["set-resources"].values())


def test_those_and_only_those_that_can_use_a_gpu_ask_for_one() -> None:
    asking = {name for name, resources in PROFILE["set-resources"].items() if resources.get("gpu")}
    assert asking == {name for name, text in rules().items() if "gpu=1" in text}
    assert {"pretrain", "attack_and_keep"} <= asking


def test_only_data_dense_networks_and_timings_are_submitted_one_by_one() -> None:
    # And what is timed, beside nothing else.
    assert set(rules()) - set(PROFILE["groups"]) == {
        *("data", "corrupt", "initial", "pretrain", "analyse_dataset", "analyse_family", "analyse_seeds")
    }
    assert set(PROFILE["groups"].values()) == set(PROFILE["group-components"])


def test_the_memory_of_extra_images_is_asked_for(checkout: Checkout) -> None:
    # 48 MiB of them.
    np.savez_compressed(
        checkout.root / "extra.npz", image=np.zeros((48 * 2**14, 8, 8), np.uint8), label=np.zeros(48 * 2**14, np.uint8)
    )
    checkout.write(TINY | {"datasets": {"digits": {"extra": "extra.npz"}}})
    # Snakemake says what a job asks for where the rule has no words of its own.
    for file in (checkout.root / "workflow/rules").glob("*.smk"):
        file.write_text(re.sub(r"^    message:\n.*\n", "", file.read_text(), flags=re.MULTILINE))
    profile = ("--workflow-profile", "workflow/profiles/slurm")
    done = checkout.snakemake("--dry-run", *profile, "--", f"{CELL}/finetuned.safetensors")
    asked = re.findall(r"rule (\w+):\n(?: .*\n)*? +resources: .*?\bmem_mb=(\d+)", done.stdout + done.stderr)
    trained = {name: int(memory) for name, memory in asked if name not in ("data", "initial")}
    assert trained == {"pretrain": 4048, "prune": 4048, "finetune": 4048}
    # And more of it at a further attempt.
    assert all("mem_mb=lambda wildcards, attempt: attempt *" in rules()[name] for name in trained)


TABLES = [f"{CELL}/finetuned/{table}" for table in ("attacks/fgsm.csv", "attacks/pgd.csv", "verifiers/ibp.csv")]


def refused(finished: Checkout, tmp_path: Path, change: Callable[[Path], None]) -> tuple[Path, str]:
    """The finished study after `change`, of which no submission is accepted; its folder, and what Snakemake said."""
    root = tmp_path / "checkout"
    shutil.copytree(finished.root, root)
    change(root)
    # A Slurm that writes down what it is told, and accepts nothing.
    commands = {"sbatch": 'echo "$@" > sbatch.txt; exit 1', "sinfo": "echo main*", "sacct": "exit 1", "scontrol": "exit 1"}
    (tmp_path / "bin").mkdir()
    for name, does in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--workflow-profile", "workflow/profiles/slurm"]
    # The plugin looks at what it has submitted after so many seconds, even if that is nothing.
    command += ["--retries", "0", "--slurm-init-seconds-before-status-checks", "1"]
    done = subprocess.run([*command, *TABLES], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return root, done.stderr


def test_a_group_asks_for_one_gpu_the_sum_of_its_times_and_the_memory_of_one_job(finished: Checkout, tmp_path: Path) -> None:
    root, _ = refused(finished, tmp_path, lambda root: shutil.rmtree(root / CELL))
    said = (root / "sbatch.txt").read_text()
    # Ten minutes to prune, 20 to fine-tune, twice 10 to attack, 20 to verify.
    for words in ("--gpus=1", "-t 70", "--mem 6000", "--cpus-per-task=1", "--requeue"):
        assert f" {words} " in said, said[:2000]
    assert f"{root}/logs/slurm/group_cell_" in said


def test_what_a_failed_submission_did_not_make_anew_is_still_to_be_made(finished: Checkout, tmp_path: Path) -> None:
    def more_steps(root: Path) -> None:
        study = yaml.safe_load((root / "study.yaml").read_text())
        study["attacks"]["pgd"]["steps"] += 1
        (root / "study.yaml").write_text(yaml.safe_dump(study))

    root, said = refused(finished, tmp_path, more_steps)
    # Nothing is left to try, and the message names what has failed, once.
    assert re.search(r"Error in group", said), said[-2000:]
    assert "Traceback" not in said
    before = (finished.root / TABLES[1]).read_bytes()
    assert (root / TABLES[1]).read_bytes() == before
    again = Checkout(root).planned("--rerun-incomplete", "--", *TABLES)
    assert again == ["Attack benign cnn-small lwm-0.90/finetuned by pgd"]
