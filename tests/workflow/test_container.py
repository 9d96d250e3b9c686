"""Jobs in a container, with a stand-in for Apptainer that writes down how it is called."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.workflow.conftest import REPOSITORY, Checkout

STAND_IN = """#!/bin/sh
[ "$1" = --version ] && echo apptainer version 1.4.5 && exit 0
echo "$@" >> called.txt
exit 1
"""
DATA = "results/digits/data.safetensors"


@pytest.fixture
def with_apptainer(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the stand-in."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "apptainer").write_text(STAND_IN)
    (folder / "apptainer").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def run(checkout: Checkout, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return checkout.snakemake("--sdm", "apptainer", "--", DATA, environment=environment)


def test_an_image_that_is_not_there_is_named_before_any_job(checkout: Checkout, with_apptainer: dict[str, str]) -> None:
    done = run(checkout, with_apptainer)
    assert done.returncode == 1
    image = checkout.root / "envs/sparrow.sif"
    assert f"{image}: no such image; valid: one built from envs/Dockerfile, as docs/cluster.md says" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout.root / "called.txt").exists()


def test_a_job_runs_in_the_image_with_the_images_python(checkout: Checkout, with_apptainer: dict[str, str]) -> None:
    image = checkout.root / "envs/sparrow.sif"
    image.touch()
    assert run(checkout, with_apptainer).returncode == 1
    called = (checkout.root / "called.txt").read_text()
    assert called.startswith(f"exec --home {checkout.root}")
    assert re.search(rf" {image} \w+ -c .*python .*\.job\.py", called)


def test_the_image_is_named_before_the_rules_it_holds_for() -> None:
    # One that is named below a rule is not that rule's, and Snakemake says nothing of it.
    text = (REPOSITORY / "Snakefile").read_text()
    rules = [place for place in (text.find("\ninclude:"), text.find("\nrule ")) if place >= 0]
    assert 0 < text.find("\ncontainer:") < min(rules)


def test_images_are_in_no_commit() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "envs/sparrow.sif", "envs/sparrow.tar"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "not a git repository" in done.stderr:
        pytest.skip("no git repository")
    assert done.stdout.split() == ["envs/sparrow.sif", "envs/sparrow.tar"]
