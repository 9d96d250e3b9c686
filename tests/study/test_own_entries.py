"""Entries of one's own, in a folder outside of the checkout and in an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.default_study import default_study

SOURCE = Path(__file__).parents[2] / "src"
METHOD = '''"""Weights are kept by their size, as an example of one's own.

Source: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparrow.lazy_torch import torch
from sparrow.methods._signs import SIGN
from sparrow.pruning.params import Granular, PerLayer

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(PerLayer, Granular):
    """Nothing more to set."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the largest weights."""
    from sparrow.pruning.one_shot import OneShot

    return OneShot(params, ratio, lambda weight: SIGN * weight.abs())
'''


def write_method(folder: Path, sign: int = 1) -> None:
    """A folder of entries with the method `my-lwm`, and a file that it imports."""
    (folder / "methods").mkdir(parents=True, exist_ok=True)
    (folder / "methods/my_lwm.py").write_text(METHOD)
    (folder / "methods/_signs.py").write_text(f"SIGN = {sign}\n")


def python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = os.environ | {"PYTHONPATH": str(SOURCE)} | environment
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=own, capture_output=True, text=True, check=False)


def check(folder: Path, **sections: object) -> str:
    """What `sparrow check` says of the default study with these sections, without the name of its file."""
    (folder / "study.yaml").write_text(yaml.safe_dump(default_study() | sections))
    done = python(folder, "-m", "sparrow", "check", "study.yaml")
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return said.replace("study.yaml: ", "")


def test_a_study_names_a_method_of_a_folder_of_its_own(tmp_path: Path) -> None:
    write_method(tmp_path / "mine")
    own = {"methods": {"my-lwm": {"granularity": "filter"}, "random": {"granularity": "filter"}}, "ratios": [0.5]}
    assert check(tmp_path, entries=["mine"], **own).startswith("valid; 3 dense networks, 6 cells")
    assert "methods.my-lwm: unknown method 'my-lwm'" in check(tmp_path, **own)
    own["methods"]["my-lwm"] = {"granularities": "filter"}
    assert "methods.my-lwm.granularities: unknown key 'granularities'" in check(tmp_path, entries=["mine"], **own)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (["none"], "entries.0: 'none' is not valid: no such folder"),
        (["empty"], "entries.0: 'empty' is not valid: holds no folder of entries; valid: datasets, models"),
        (["wrong"], "entries.0: 'wrong' is not valid: pruners is no folder of entries; valid: datasets, models"),
        (["shadow"], "entries.0: 'shadow' is not valid: methods/lwm.py is called as an entry of Sparrow is; rename it"),
        (["broken"], "broken/methods/mine.py: line 1: cannot be imported: SyntaxError: "),
        ("mine", "entries: 'mine' is not valid: must be a valid list"),
        ([3], "entries.0: 3 is not valid: must be a valid string"),
    ],
)
def test_a_folder_that_is_none_is_one_line(entries: object, line: str, tmp_path: Path) -> None:
    for name in ("empty", "wrong/pruners", "shadow/methods", "broken/methods"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shadow/methods/lwm.py").touch()
    (tmp_path / "broken/methods/mine.py").write_text("def\n")
    said = check(tmp_path, entries=entries)
    assert line in said
    assert len(said.splitlines()) == 1


def test_their_code_and_what_it_imports_are_in_the_digests(tmp_path: Path) -> None:
    tell = "from sparrow.study.code_digest import code_digest; print(code_digest('sparrow.methods.my_lwm'))"
    digests = []
    for sign in (1, -1):
        write_method(tmp_path / "mine", sign)
        digests.append(python(tmp_path, "-c", tell, SPARROW_ENTRIES=str(tmp_path / "mine")).stdout)
    assert digests[0] != digests[1]
    assert all(len(digest.strip()) == 16 for digest in digests)


def test_an_installed_package_names_its_entries_by_an_entry_point(tmp_path: Path) -> None:
    write_method(tmp_path / "their_entries")
    (tmp_path / "their_entries/__init__.py").touch()
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sparrow.entries]\ntheirs = their_entries\n")
    tell = (
        "import torch, sparrow; network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4));"
        "print(sparrow.prune('my-lwm', network, 0.75, torch.rand(2, 1, 4, 4)).ratio)"
    )
    done = python(tmp_path, "-c", tell, PYTHONPATH=f"{SOURCE}{os.pathsep}{tmp_path}")
    assert done.stdout.strip() == "0.75", done.stderr
