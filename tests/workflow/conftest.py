"""A checkout of the workflow in a temporary folder, and two tiny studies that have been run there once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PARTS = ["Snakefile", "config.yaml", "CITATION.cff", "workflow", "src", "envs", "reports"]

TINY = {
    "seeds": [0],
    "threat": {"eps": 0.1},
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"benign": None},
    # One that only looks, one that learns scores, and one that removes filters.
    "methods": {"lwm": None, "hydra": None, "harp": {"granularity": "filter"}},
    "ratios": [0.9],
    "training": {stage: {"epochs": 2, "batch_size": 256} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"fgsm": {"samples": 40}, "pgd": {"samples": 40, "steps": 2}},
    "verifiers": {"ibp": {"samples": 40}, "alpha-crown": {"samples": 4, "iterations": 2}},
}

# Several radii, kept examples, a cascade that looks at them, an attack that believes a verifier, stable ReLUs, latencies, and
# an objective of which nothing comes.
SWEPT = TINY | {
    "objectives": {"benign": None, "diverging": {"kind": "benign", "training": {"pretrain": {"lr": 1e9}}}},
    "methods": {"lwm": {"granularity": "filter"}},
    "attacks": {
        "pgd": {"samples": 20, "steps": 2, "eps": [0.05, 0.1]},
        "fmn": {"samples": 20, "steps": 5, "keep_examples": True},
        # Where something is verified, however little the networks have learned.
        "fgsm": {"samples": 20, "eps": 0.00001, "skip_verified": ["ibp"]},
    },
    "verifiers": {
        "cascade": {"samples": 20, "bounds": ["ibp", "crown"], "attacks": ["pgd"], "eps": [0.05, 0.1]},
        "ibp": {"samples": 20, "eps": 0.00001},
    },
    "analyses": {
        "stability": {"samples": 20},
        "latency": {"batch_sizes": [1], "runtimes": ["torch"], "repeats": 6},
    },
}


@dataclass
class Checkout:
    """A copy of the repository's workflow, in which a study can be changed and run."""

    root: Path
    said: str = ""
    """What Snakemake told the user of the run that has finished here, if one has."""

    def write(self, study: dict[str, Any]) -> None:
        (self.root / "study.yaml").write_text(yaml.safe_dump(study))

    def snakemake(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2", *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def run(self, *arguments: str, **options: Any) -> str:
        done = self.snakemake(*arguments, **options)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    def planned(self, *arguments: str) -> list[str]:
        """What a dry run would do: the messages of its jobs."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return re.findall(r"^Job \d+: (.+)$", done.stdout + done.stderr, flags=re.MULTILINE)

    @contextmanager
    def edited(self, path: str, old: str, new: str) -> Iterator[None]:
        """Replace `old` by `new` in a file for a while."""
        file = self.root / path
        before, times = file.read_text(), file.stat()
        assert old in before, f"{path} has no {old!r}"
        file.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            file.write_text(before)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # As if nothing had been.


def copy_checkout(root: Path) -> Checkout:
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.html", "*.sif", "*.tar"))
        else:
            shutil.copy2(source, root / part)
    checkout = Checkout(root)
    checkout.write(TINY)
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with the tiny study, not yet run."""
    return copy_checkout(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the tiny study has been run, for tests that only look and plan."""
    checkout = copy_checkout(tmp_path_factory.mktemp("finished"))
    checkout.said = checkout.run()
    return checkout


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the study of several radii has been run, for tests that only look and plan."""
    checkout = copy_checkout(tmp_path_factory.mktemp("swept"))
    checkout.write(SWEPT)
    checkout.said = checkout.run()
    return checkout
