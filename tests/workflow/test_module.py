"""Another workflow uses this one as a module: a study is a part of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from tests.workflow.conftest import TINY, copy_checkout

OUTER = """
configfile: "mine.yaml"

module sparrow:
    snakefile: "sparrow/Snakefile"
    config: config["robustness"]

use rule * from sparrow as sparrow_*

rule best:
    default_target: True
    input: "results/ranking.csv"
    output: "best.txt"
    shell: "head -n 2 {input} > {output}"
"""


def test_a_study_is_a_part_of_another_workflow(tmp_path: Path) -> None:
    (tmp_path / "sparrow").mkdir()
    copy_checkout(tmp_path / "sparrow")
    small = TINY | {"methods": {"lwm": None}, "attacks": {"fgsm": {"samples": 20}}, "verifiers": {"ibp": {"samples": 20}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"robustness": small}))
    (tmp_path / "Snakefile").write_text(OUTER)
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "lwm" in (tmp_path / "best.txt").read_text()
    # A mistake is not looked for in our own config.yaml.
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"robustness": small | {"seeds": [-1]}}))
    done = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "config of the module: seeds.0: -1 is not valid" in done.stderr
    assert set(pd.read_csv(tmp_path / "results/ranking.csv")["method"]) == {"lwm"}


def test_a_mistake_in_the_default_study_names_its_file(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY | {"seeds": [-1]}))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "config.yaml: seeds.0: -1 is not valid: must be greater than or equal to 0",
    )
