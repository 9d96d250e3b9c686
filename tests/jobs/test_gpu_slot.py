"""Which of several GPUs a job takes. No GPU is needed: what is chosen is a number in the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparrow.jobs import gpu_slot

TAKE = """
import os, sys
from pathlib import Path
from sparrow.jobs import gpu_slot
gpu_slot.take(Path(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""
SOURCE = Path(__file__).parents[2] / "src"


def job(folder: Path, seen: str) -> tuple[subprocess.Popen[str], str]:
    """A process that takes a GPU and keeps it until its input ends; and which it took."""
    environment = {"CUDA_VISIBLE_DEVICES": seen, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_jobs_at_the_same_time_take_different_ones_and_give_them_back(tmp_path: Path) -> None:
    first, one = job(tmp_path, "0,2,5")
    second, two = job(tmp_path, "0,2,5")
    assert (one, two) == ("0", "2")
    first.kill()
    end(first)
    third, again = job(tmp_path, "0,2,5")
    assert again == "0"
    for process in (second, third):
        end(process)


def test_one_is_shared_if_all_are_taken(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "3,4") for _ in range(3)]
    assert [gpu for _, gpu in jobs[:2]] == ["3", "4"]
    assert jobs[2][1] in ("3", "4")
    for process, _ in jobs:
        end(process)


@pytest.mark.parametrize("said", ["", "1", "-1", "GPU-8a2e"])
def test_what_a_batch_system_has_chosen_stays(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu_slot.VISIBLE, said)
    gpu_slot.take(tmp_path / "locks")
    assert gpu_slot.os.environ[gpu_slot.VISIBLE] == said
    assert not (tmp_path / "locks").exists()


def test_all_gpus_of_the_machine_are_seen_if_nobody_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpu_slot.VISIBLE, raising=False)
    monkeypatch.setattr(gpu_slot, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpu_slot.visible() == ["0", "2", "10"]
