"""A disk that is full, or may not be written to: one clear line, and a study that completes once that is mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY, Checkout

STUDY = TINY | {
    "methods": {"lwm": None},
    "attacks": {"fgsm": {"samples": 40}},
    "verifiers": {"ibp": {"samples": 40}},
}
ALONE = ["unshare", "--map-root-user", "--mount"]
TARGET = "results/digits/cnn-small/benign/seed0/lwm-0.90/finetuned.safetensors"

SCRIPT = """
mkdir results
mount -t tmpfs -o size=400k tmpfs results
run() { {python} -m snakemake --configfile study.yaml --cores 2 {target} > $1.txt 2>&1; echo $?; }
run full
find results -name '*.partial' -o -name '*.resume.*'
mount -o remount,size=50m,ro results
run readonly
{python} -m snakemake --configfile study.yaml --dry-run {target} --quiet all > look.txt 2>&1; echo $?
mount -o remount,rw results
run again
cp -r results kept
"""


def _own_mounts() -> bool:
    command = [*ALONE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return sys.platform == "linux" and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _own_mounts(), reason="needs mounts of its own (unshare): not allowed here")
def test_a_study_completes_once_there_is_room(checkout: Checkout) -> None:
    checkout.write(STUDY)
    script = SCRIPT.replace("{python}", sys.executable).replace("{target}", TARGET)
    done = subprocess.run([*ALONE, "bash", "-c", script], cwd=checkout.root, capture_output=True, text=True, check=False)
    # A data set, an initial and a dense network fit; then nothing does. What was computed stays, nothing half. To look is no
    # harm.
    assert done.stdout.split() == ["1", "1", "0", "0"], done.stdout + done.stderr
    full, readonly = ((checkout.root / f"{name}.txt").read_text() for name in ("full", "readonly"))
    assert "pruned.safetensors: cannot be written: no space left on device; run again once that is mended" in full
    assert "results: cannot be written to: results is read-only, or belongs to somebody else" in readonly.splitlines()
    assert "Traceback" not in full + readonly
    assert "Pre-train" not in (checkout.root / "again.txt").read_text()
    assert (checkout.root / Path("kept", *Path(TARGET).parts[1:])).is_file()


def test_results_that_are_no_folder_are_refused_before_any_job(checkout: Checkout) -> None:
    (checkout.root / "results").write_text("")
    done = checkout.snakemake("--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "results: cannot be written to: results is a file"
