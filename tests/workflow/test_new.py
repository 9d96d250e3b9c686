"""What `sparrow new` writes runs as it is: one entry of each room, in a study of them alone."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sparrow.cli.new import ROOMS
from tests.workflow.conftest import REPOSITORY, Checkout, copy_checkout

STUDY = {
    "results": "mine",
    "seeds": [0],
    "threat": {"eps": 0.3},
    "ratios": [0.5],
    "training": {stage: {"epochs": 3, "batch_size": 64} for stage in ("pretrain", "prune", "finetune")},
    # All rooms have to have something, and these more than one of them.
    "methods": {"my-method": None, "filters": {"kind": "my-method", "granularity": "filter"}},
}


def _sparrow(checkout: Checkout, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sparrow", *arguments]
    environment = os.environ | {"PYTHONPATH": str(checkout.root / "src")}
    return subprocess.run(command, cwd=checkout.root / folder, env=environment, capture_output=True, text=True, check=False)


def _with_documents(root: Path) -> Checkout:
    """A checkout with all that is generated from the code."""
    checkout = copy_checkout(root)
    shutil.copy2(REPOSITORY / "README.md", root)
    shutil.copy2(REPOSITORY / "pyproject.toml", root)
    shutil.copytree(REPOSITORY / "docs", root / "docs")
    return checkout


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which `sparrow new` has written one entry of each room."""
    checkout = _with_documents(tmp_path_factory.mktemp("grown"))
    for room in ROOMS:
        done = _sparrow(checkout, "new", room, f"my-{room}")
        assert done.returncode == 0, done.stderr
        written, following = done.stdout.splitlines()
        assert written.startswith(f"src/sparrow/{ROOMS[room]}/my_{room}.py: written")
        assert f"{ROOMS[room]}: {{my-{room}: }}" in following
    return checkout


@pytest.mark.parametrize("room", ROOMS)
def test_it_is_a_file_that_the_lints_leave_alone(room: str, grown: Checkout) -> None:
    path = f"src/sparrow/{ROOMS[room]}/my_{room}.py"
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, path], cwd=grown.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_generated_knows_it(room: str, grown: Checkout) -> None:
    schema = json.loads((grown.root / "workflow/schemas/config.schema.json").read_text())
    assert f"my-{room}" in schema["properties"][ROOMS[room]]["properties"]
    assert f"| `my-{room}` | My {room}: " in (grown.root / "docs/entries.md").read_text()
    assert f"| `{ROOMS[room]}.my-{room}." in (grown.root / "docs/options.md").read_text()


def test_a_new_data_set_says_how_many_images_it_has(grown: Checkout) -> None:
    # What `sparrow cost` estimates from, before there are any.
    found = runpy.run_path(str(grown.root / "src/sparrow/datasets/my_dataset.py"))
    for each in (10, 200):
        params = found["Params"](images_each=each)
        loaded = found["load"](params)
        assert params.images == (len(loaded.train.labels), None)


def test_a_study_of_new_entries_alone_ends_in_its_tables(grown: Checkout) -> None:
    rooms: dict[str, dict] = {section: {f"my-{room}": None} for room, section in ROOMS.items() if section != "methods"}
    rooms["attacks"]["few"] = {"kind": "my-attack", "points": 1}
    grown.write(STUDY | rooms)
    checked = _sparrow(grown, "check", "study.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    grown.run("mine/summary.csv")
    results = grown.root / "mine"
    folder = results / "my-dataset/my-model/my-objective/seed0"
    with (results / "summary.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"dense", "my-method", "filters"}
    assert {row["failed"] for row in rows.values()} == {""}
    # The objective has trained the network on the images: two classes, of which it knows more than chance would.
    assert float(rows["dense"]["benign"]) > 0.9
    # The method has removed half of the weights of each layer, and no other.
    pruned = load_file(folder / "my-method-0.50/finetuned.safetensors")
    for name in ("weight/0.weight", "weight/3.weight"):
        assert (pruned[name] == 0).sum() == pruned[name].size // 2, name
    # The attack finds worse points the more of them it tries, and the bound is below all of them.
    margins = {}
    for path in ("attacks/few", "attacks/my-attack", "verifiers/my-verifier"):
        with (folder / f"dense/{path}.csv").open() as file:
            margins[path] = np.array([float(row["margin"]) for row in csv.DictReader(file)])
    few, many, bounds = margins.values()
    assert many.mean() < few.mean()
    assert (bounds < many).all()
    if "analysis" in ROOMS:
        assert all(0 < float(row["my-analysis_mean"]) <= 1 for row in rows.values())


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which nothing may be written."""
    return _with_documents(tmp_path_factory.mktemp("untouched"))


@pytest.mark.parametrize(
    ("room", "name", "said"),
    [
        ("method", "lwm", "src/sparrow/methods/lwm.py: is there already; choose another name than 'lwm'"),
        ("model", "cnn-small", "src/sparrow/models/cnn_small.py: is there already"),
        ("method", "My_Method", "'My_Method' is not valid: must be small letters and digits, a letter first"),
        ("method", "two--hyphens", "'two--hyphens' is not valid"),
        ("method", "9-lives", "'9-lives' is not valid"),
        ("method", "../elsewhere", "'../elsewhere' is not valid"),
        ("method", "lambda", "'lambda' is not valid"),
        ("method", "a" * 41, "40 at most"),
        ("method", "dense", "'dense' is not valid: it names the network before pruning"),
        ("dataset", "analyses", "'analyses' is not valid: it names the folder of what is about the whole study"),
        ("analysis", "summary", "'summary' is not valid: it names a table or figure of every study"),
        ("analysis", "accuracy", "'accuracy' is not valid: it names a table or figure of every study"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(room: str, name: str, said: str, untouched: Checkout) -> None:
    before = {path: path.stat().st_mtime_ns for path in (untouched.root / "src").rglob("*.py")}
    done = _sparrow(untouched, "new", room, name)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert {path: path.stat().st_mtime_ns for path in (untouched.root / "src").rglob("*.py")} == before


def test_a_room_that_there_is_not_is_told_those_that_there_are(untouched: Checkout) -> None:
    done = _sparrow(untouched, "new", "methods", "mine")
    assert done.returncode == 2
    assert "invalid choice: 'methods'" in done.stderr
    assert "'method'" in done.stderr


def test_outside_of_a_checkout_it_is_refused(untouched: Checkout, tmp_path: Path) -> None:
    done = _sparrow(untouched, "new", "method", "mine", folder="workflow")
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["error: src/sparrow/methods: no such folder here; run it in the root of a checkout"],
    )
    # Nor does it write into another checkout than that whose code runs.
    other = tmp_path / "other"
    (other / "src/sparrow/methods").mkdir(parents=True)
    done = _sparrow(untouched, "new", "method", "mine", folder=str(other))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: src/sparrow: not the code that runs")
    assert list((other / "src/sparrow/methods").iterdir()) == []
