"""What the file of an entry should say of itself, and does not, is told; it works all the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from sparrow import catalogue
from sparrow.cli.main import main
from sparrow.study.unsaid import unsaid

ROOT = Path(__file__).parents[2]
ENTRIES = [(room, kind) for room in catalogue.PACKAGES for kind in catalogue.kinds(room)]
WHOLE = '''"""Keeps all weights.

Source: an example.
"""

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Method

class Params(Method):
    power: float = 1.0
    """Of the weights."""

def prepare(params, ratio, generator):
    import torchvision
'''


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is told of a file, without its name."""

    def ask(text: str) -> list[str]:
        path = tmp_path / "own.py"
        path.write_text(text)
        found = importlib.util.spec_from_file_location("own", path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, "own", module)
        found.loader.exec_module(module)
        monkeypatch.setattr(catalogue, "load", lambda room, kind: module)
        return [line.removeprefix(f"{path}: ") for line in unsaid("methods", "own")]

    return ask


@pytest.mark.parametrize(("room", "kind"), ENTRIES, ids=[f"{room}.{kind}" for room, kind in ENTRIES])
def test_every_shipped_file_says_all(room: catalogue.Room, kind: str) -> None:
    assert list(unsaid(room, kind)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", None),
        ("\nSource: an example.\n", "", "its docstring has no paragraph `Source: ...`; "),
        (WHOLE.partition("\n\nfrom")[0], "", "has no docstring; its first sentence would be in the table of entries"),
        ('    """Of the weights."""', "", "Params.power has no docstring below it; "),
        ("from sparrow.lazy_torch import torch", "import torch", "line 6 imports torch, which every command then waits for; "),
        ("from sparrow.lazy_torch import torch", "import torch.nn as nn", "line 6 imports torch, "),
        ("from sparrow.lazy_torch import torch", "from torch import nn", "line 6 imports torch, "),
    ],
)
def test_what_is_unsaid_is_told(old: str, new: str, told: str | None, lines) -> None:
    assert old in WHOLE
    found = lines(WHOLE.replace(old, new))
    assert [line for line in found if told is None or not line.startswith(told)] == []
    assert len(found) == (told is not None)


def test_a_check_tells_it_as_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(catalogue.load("methods", "lwm"), "__doc__", None)
    assert main(["check", str(ROOT / "config.yaml")]) == 0
    shown = capsys.readouterr()
    assert [line.partition("lwm.py: ")[2] for line in shown.err.splitlines() if line.startswith("warning: ")] == [
        "has no docstring; its first sentence would be in the table of entries"
    ]
    assert "valid; " in shown.out
