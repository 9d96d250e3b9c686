"""The lock is complete and hashed, and the conda environment is made anew when it changes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ENVS = Path(__file__).parents[1] / "envs"
LOCK = (ENVS / "requirements.txt").read_text()


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
