"""Step times of entries of one's own are of their code, and none that a changed entry had before prices a study."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.test_cost import STUDY

SOURCE = Path(__file__).parents[2] / "src"
HEAD = '"""An example of one\'s own.\n\nSource: none.\n"""\n\nfrom __future__ import annotations\n\n'
NETWORK = (
    HEAD
    + '''from sparrow.lazy_torch import torch
from sparrow.models._width import WIDTH
from sparrow.networks.params import Architecture


class Params(Architecture):
    """Nothing to set."""


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """All images are large enough."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """One convolution, and one linear layer."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(shape[0], WIDTH, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, classes)
    )
'''
)
OBJECTIVE = (
    HEAD
    + '''from sparrow.training.objective_params import Objective


class Params(Objective):
    """Nothing to set."""


def prepare(params, threat):
    """Cross-entropy."""
    from torch.nn.functional import cross_entropy

    return lambda model, images, labels, progress: cross_entropy(model(images), labels)
'''
)
VERIFIER = (
    HEAD
    + '''from typing import ClassVar

from sparrow.settings import Norm
from sparrow.verification.params import Verification


class Params(Verification):
    """Nothing more to set."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf",)


def bound(model, images, labels, params, threat, classes):
    """A bound that proves nothing."""
    return model(images)[:, 0] * 0 - 1
'''
)


def cost(folder: Path, *options: str) -> tuple[str, str]:
    """What `sparrow cost` says on both outputs."""
    command = [sys.executable, "-m", "sparrow", "cost", "study.yaml", *options]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with a study of a network, an objective and a verifier of one's own, which have been measured there."""
    files = {
        "models/mine": NETWORK,
        "models/_width": "WIDTH = 4\n",
        "objectives/my_loss": OBJECTIVE,
        "verifiers/my_bound": VERIFIER,
    }
    for name, text in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"own/{name}.py").write_text(text)
    study = STUDY | {
        "entries": ["own"],
        "models": {"mine": None},
        "objectives": {"my-loss": None},
        "attacks": {"fgsm": {"samples": 20}},
        "verifiers": {"my-bound": {"samples": 5}},
        "methods": {"random": None},
        "ratios": [0.5],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    cost(tmp_path, "--measure", "--repeats", "1")
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "steps.csv").read_text().splitlines()))


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with open(folder / "own" / name, "a") as file:
            file.write(text)

    return change


def widen(folder: Path) -> None:
    (folder / "own/models/_width.py").write_text("WIDTH = 8\n")


def forget(folder: Path) -> None:
    """Make the table one from before it knew of any code."""
    lines = rows(folder)
    with open(folder / "steps.csv", "w", newline="") as file:
        table = csv.DictWriter(file, [name for name in lines[0] if name != "code"], extrasaction="ignore")
        table.writeheader()
        table.writerows(lines)


CHANGES = {
    "a network": (append("models/mine.py", "X = 1\n"), "3 step times of steps.csv, measured before models.mine changed"),
    "what it imports": (widen, "3 step times of steps.csv, measured before models.mine changed"),
    "an objective": (
        append("objectives/my_loss.py", "X = 1\n"),
        "a step time of steps.csv, measured before objectives.my-loss changed",
    ),
    "a verifier": (
        append("verifiers/my_bound.py", "X = 1\n"),
        "a step time of steps.csv, measured before verifiers.my-bound changed",
    ),
    "an older table": (forget, "measured before tables knew the code of models.mine and objectives.my-loss"),
}


def test_what_has_been_measured_prices_a_study_until_an_entry_changes(measured: Path) -> None:
    assert [line["what"] for line in rows(measured)] == ["step", "gradient", "bound"]
    said, _ = cost(measured)
    assert "Hours of a CPU.\nStep times are from steps.csv.\nmeasured: " in said
    assert "unknown" not in said
    # Comments are no code.
    append("models/mine.py", "# Said.\n")(measured)
    assert cost(measured)[0] == said
    for name, (change, told) in CHANGES.items():
        before = {path: path.read_text() for path in measured.rglob("*") if path.is_file()}
        change(measured)
        now, _ = cost(measured)
        assert told in now, name
        assert "Not known:\n- neither measured nor counted" in now, name
        for path, text in before.items():
            path.write_text(text)
    assert cost(measured)[0] == said


def test_measuring_again_takes_the_place_of_what_an_entry_was_before(measured: Path) -> None:
    before = rows(measured)
    widen(measured)
    said, told = cost(measured, "--measure", "--repeats", "1")
    assert told.count("mine: ") == 3
    assert "unknown" not in said
    assert "Not used" not in said
    after = rows(measured)
    assert [line["what"] for line in after] == [line["what"] for line in before]
    assert all(int(new["multiply_adds"]) != int(old["multiply_adds"]) for new, old in zip(after, before, strict=True))
    # Whoever changes a verifier has not changed the network.
    append("verifiers/my_bound.py", "X = 1\n")(measured)
    _, told = cost(measured, "--measure", "--repeats", "1")
    assert [line.split(": ")[1] for line in told.splitlines() if "mine: " in line] == ["bound of my-bound"]
