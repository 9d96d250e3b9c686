"""The runner of findings/, and what each finding has to say of itself; what they find is looked for by `make findings`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "findings"
FINDINGS = sorted(FOLDER.glob("*.sh"))


def _run(root: Path, *scripts: str) -> tuple[int, list[str]]:
    done = subprocess.run([root / "findings/run", *scripts], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("statuses", "status", "words"),
    [([0, 0], 0, ["ok", "ok"]), ([0, 1, 2], 1, ["ok", "changed", "not run"]), ([2, 0], 2, ["not run", "ok"])],
)
def test_the_runner_says_which_have_changed(statuses: list[int], status: int, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "findings").mkdir()
    shutil.copy(FOLDER / "run", tmp_path / "findings")
    for place, one in enumerate(statuses):
        (tmp_path / f"findings/{place}.sh").write_text(f"echo said by {place}\nexit {one}\n")
    expected = []
    for place, (one, word) in enumerate(zip(statuses, words, strict=True)):
        expected += [f"{word:8} findings/{place}.sh", *([f"         said by {place}"] if one else [])]
    assert _run(tmp_path) == (status, expected)
    # Those that are named alone.
    assert _run(tmp_path, "findings/0.sh") == (statuses[0], expected[: 1 + bool(statuses[0])])


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_a_finding_says_what_was_seen_and_pins_what_it_installs(path: Path) -> None:
    text = path.read_text()
    head = text.split("\nset -euo pipefail\n")[0]
    keys = ["Versions:", *(["Network:"] if "torch==" in text else []), "Input:", "Expected:", "Seen:"]
    assert [key for key in keys if f"\n# {key}" not in head] == []
    installed = re.findall(r"pip\" install ((?:.*\\\n)*.*)\n", text)
    assert installed
    packages = [word for one in installed for word in one.replace("\\\n", " ").split() if not word.startswith(("-", "&"))]
    assert [package for package in packages if "==" not in package] == []
    assert "sparrow" not in text.lower()
    assert os.access(FOLDER / "run", os.X_OK)
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text()


def test_a_finding_whose_packages_cannot_be_had_is_not_run() -> None:
    # A Python that is none: nothing is installed, and nothing has changed.
    done = subprocess.run(
        ["bash", FINDINGS[0]], env=os.environ | {"PYTHON": "false"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
