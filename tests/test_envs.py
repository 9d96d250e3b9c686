"""The lock is complete and hashed; the conda environment is made anew when it changes, and the container has what it pins."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ENVS = Path(__file__).parents[1] / "envs"
LOCK = (ENVS / "requirements.txt").read_text()
IMAGE = "sparrow-of-a-test"
PYTHONS = {"bookworm": "3.11"}
"""Versions of Python by Debian's releases."""


def test_every_requirement_is_pinned_in_the_lock() -> None:
    wanted = re.findall(r"^([\w.-]+)", (ENVS / "requirements.in").read_text(), flags=re.MULTILINE)
    pinned = set(re.findall(r"^([\w.-]+)==", LOCK, flags=re.MULTILINE))
    assert len(wanted) > 10
    assert {name.lower().replace("_", "-") for name in wanted} <= pinned


def test_every_package_has_hashes_and_no_registry() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK)
    packages = [entry for entry in entries if "==" in entry.split("\n")[0]]
    assert len(packages) > 50
    assert all("--hash=sha256:" in entry for entry in packages)
    assert "://" not in LOCK


def test_conda_environment_names_the_lock() -> None:
    # Snakemake makes an environment anew when its file changes; the digest makes a new lock such a change.
    digest = hashlib.sha256(LOCK.encode()).hexdigest()[:16]
    assert f"# lock: {digest}" in (ENVS / "sparrow.yaml").read_text(), "run `make lock`"


def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its words in one line."""
    text = re.sub(r"^#.*\n", "", (ENVS / "Dockerfile").read_text(), flags=re.MULTILINE)
    parts = (line.split(maxsplit=1) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line)
    return [(name, words) for name, words in parts]


def test_the_container_installs_the_lock_and_nothing_else() -> None:
    (copied,) = [words for name, words in steps() if name in ("COPY", "ADD")]
    lock, folder = copied.split()
    assert (ENVS / lock).read_text() == LOCK
    commands = " && ".join(words for name, words in steps() if name == "RUN")
    (installed,) = re.findall(r"pip install ([^&]*)", commands)
    assert set(installed.split()) == {*["--no-cache-dir", "--no-deps", "--require-hashes", "--requirement"], folder + lock}
    (system,) = re.findall(r"apt-get install ([^&]*)", commands)
    assert {word for word in system.split() if not word.startswith("--")} == {"python3", "python3-venv"}


def test_the_container_has_the_python_of_the_conda_environment() -> None:
    (base,) = [words for name, words in steps() if name == "ARG"]
    (release,) = re.findall(r"^DEBIAN=debian:(\w+)-slim$", base)
    assert f"- python ={PYTHONS[release]}\n" in (ENVS / "sparrow.yaml").read_text()
    # Snakemake calls `python`, and finds that of the environment first.
    assert ("ENV", "PATH=/opt/sparrow/bin:$PATH") in steps()


def builder() -> str | None:
    """A command that builds images and works here."""
    daemon = shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    return "docker" if daemon else next(filter(shutil.which, ("podman", "buildah")), None)


@pytest.mark.slow
def test_the_container_is_built_and_has_what_the_lock_pins(tmp_path: Path) -> None:
    command = builder()
    if command is None:
        pytest.skip("no docker with a daemon, no podman and no buildah")

    def build(folder: Path, tag: str) -> subprocess.CompletedProcess[str]:
        words = [command, "build", "--tag", tag, "--file", str(folder / "Dockerfile"), str(folder)]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    done = build(ENVS, IMAGE)
    if done.returncode and "python3-venv" not in done.stdout.partition("RUN")[2]:
        pytest.skip(f"the image that it begins with cannot be had: {done.stdout[-300:]}")
    assert done.returncode == 0, done.stdout[-3000:]
    # Each builder runs images in words of its own, and builds in the same.
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN python -m pip freeze --all\n")
    said = build(tmp_path, f"{IMAGE}-frozen").stdout
    pinned = set(re.findall(r"^([\w.-]+==[\w.]+) \\$", LOCK, flags=re.MULTILINE))  # Without those of some systems only.
    installed = {line.lower().replace("_", "-") for line in re.findall(r"[\w.-]+==[\w.]+", said)}
    assert len(pinned) > 50
    assert {one.lower().replace("_", "-") for one in pinned} <= installed
