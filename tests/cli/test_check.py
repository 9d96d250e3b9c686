"""All mistakes of a study at once."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import sparrow
from sparrow.cli.main import main

STUDY: dict[str, Any] = {
    "seeds": [0, 1],
    "threat": {"eps": 0.1},
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"benign": None, "adversarial": None},
    "methods": {"lwm": None},
    "ratios": [0.5, 0.9],
    "training": {stage: {"epochs": 2, "batch_size": 64} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"pgd": None, "fmn": None},
    "verifiers": {"ibp": None},
}


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Writes a study and checks it: exit status and lines, without the file's name."""
    monkeypatch.chdir(tmp_path)

    def check(study: dict[str, Any] | str) -> tuple[int, list[str]]:
        Path("study.yaml").write_text(study if isinstance(study, str) else yaml.safe_dump(study, sort_keys=False))
        status = main(["check", "study.yaml"])
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith("study.yaml: ") for line in lines)
        return status, [line.removeprefix("study.yaml: ") for line in lines]

    return check


def _changed(**sections: Any) -> dict[str, Any]:
    return copy.deepcopy(STUDY) | sections


def test_a_valid_study_is_told_with_what_it_comes_to(checked) -> None:
    status, lines = checked(STUDY)
    # Two objectives of two seeds; each of one method at two ratios; dense and fine-tuned ones face three tables each.
    assert (status, lines) == (
        0,
        [
            "valid; 4 dense networks, 8 cells, 12 networks evaluated in 36 tables of attacks and verifiers "
            "(its hours: sparrow cost study.yaml)"
        ],
    )


def test_five_mistakes_of_different_kinds_are_five_lines(checked) -> None:
    images = {"kind": "image-folder", "folder": "no/where", "size": 8, "classes": 2}
    status, lines = checked(
        _changed(
            ratios=[0.5, 1.5],  # A value out of range.
            methods={"hidra": None},  # An entry that does not exist.
            datasets={"digits": None, "mine": images},  # Files that are not there.
            objectives={"benign": None, "adversarial": {"models": ["cnn-small", "resnet"]}},  # A label of nothing.
            attacks={"pgd": {"eps": 8}, "fmn": None},  # Valid alone, not with the threat.
        )
    )
    assert status == 1
    assert [line.split(": ")[0] for line in lines] == [
        "methods.hidra",
        "ratios.1",
        "attacks.pgd.eps",
        "objectives.adversarial.models",
        "datasets.mine.folder",
    ]


def test_each_check_is_made_whatever_another_has_found(checked) -> None:
    status, lines = checked(
        _changed(
            evaluate=["finetuned"],
            analyses={"latency": {}},
            attacks={"pgd": {"objectives": ["bening"], "skip_verified": ["crown"]}, "fgsm": None, "fmn": {"eps": [0.1, 0.2]}},
            verifiers={"ibp": {"eps": 0.2}, "cascade": {"attacks": ["autoattack", "fgsm"]}},
            objectives={"benign": {"threat": {"norm": "l2", "eps": 0.5}}, "trades": {"training": {"prune": {"lr": -1}}}},
            imports={"digits/mlp/benign/seed7/dense": {"file": "theirs.pt", "map": "own.yaml"}},
        )
    )
    assert status == 1
    for start in [
        "analyses.latency: compares networks with their dense one, which evaluate leaves out",
        "attacks.pgd.objectives: unknown objective 'bening'; valid: benign, trades",
        "attacks.pgd.skip_verified: unknown verifier 'crown'; valid: ibp, cascade",
        "attacks.fgsm: objectives.benign.threat.norm is 'l2', fgsm knows only linf",
        "attacks.fmn.eps: fmn finds distances by itself",
        "verifiers.cascade.attacks: unknown attack 'autoattack'; valid: ",
        "objectives.trades.training.prune.lr: -1",
        "imports.digits/mlp/benign/seed7/dense: models has no 'mlp'",
        "imports.digits/mlp/benign/seed7/dense: seeds has no 7",
        "imports.digits/mlp/benign/seed7/dense.file: theirs.pt: no such file",
        "imports.digits/mlp/benign/seed7/dense.map: own.yaml: not a key map: No such file",
    ]:
        assert any(line.startswith(start) for line in lines), (start, lines)
    assert len(lines) == len(set(lines))


def test_an_archive_of_corrupted_images_has_to_be_there(checked, tmp_path: Path) -> None:
    study = _changed(datasets={"digits": {"corruptions": {"file": "CIFAR-10-C.tar"}}}, analyses={"corruptions": None})
    (line,) = checked(study)[1]
    assert line.startswith("datasets.digits.corruptions.file: CIFAR-10-C.tar: no such file; valid: ")
    (tmp_path / "CIFAR-10-C.tar").touch()
    assert checked(study)[0] == 0


def test_what_rests_on_a_mistake_is_no_other_one(checked) -> None:
    # A threat meant for pixels up to 255: no attack at its radius is no second mistake.
    assert [line.split(": ")[0] for line in checked(_changed(threat={"eps": 8}, attacks={"pgd": {"eps": "8/255"}}))[1]] == [
        "threat.eps"
    ]
    # A misspelt key: that there is none of what it was to be is no second one.
    misspelt = _changed(methodss=None)
    del misspelt["methods"]
    assert [line.split(": ")[0] for line in checked(misspelt)[1]] == ["methodss"]
    # An unknown model: that nobody trains the others is no second one.
    assert len(checked(_changed(objectives={"benign": {"models": ["cnn"]}}))[1]) == 1


def test_what_yaml_reads_otherwise_is_told_beside_what_is_not_valid(checked) -> None:
    text = yaml.safe_dump(_changed(methods={"hidra": None}), sort_keys=False)
    status, lines = checked(text.replace("eps: 0.1", "eps: 0.1\n  norm: no") + "ratios: [0.9]\n")
    assert status == 1
    assert [line.split(": ")[0] for line in lines] == ["ratios", "threat.norm", "methods.hidra"]
    assert "is there twice" in lines[0]
    assert "'no' is false to YAML" in lines[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seeds: [0", "not YAML"),
        ("- hydra", "holds no mapping of keys to values"),
        ("seeds: &all [*all]\n", "an alias is part of what it stands for"),
    ],
)
def test_a_file_that_holds_no_study_is_one_line(text: str, line: str, checked) -> None:
    status, lines = checked(text)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(line)


def test_a_folder_with_images_of_fewer_classes_is_told(checked) -> None:
    for name in ("red/0.png", "blue/0.png", "green/notes.txt"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Path("photos", name).touch()
    images = {"kind": "image-folder", "folder": "photos", "size": 8, "classes": 3}
    line = "datasets.mine.folder: photos: has 2 folders with images in them (blue, red); the data set has 3 classes"
    assert checked(_changed(datasets={"mine": images})) == (1, [line])
    status, lines = checked(_changed(datasets={"mine": images | {"classes": 2}}))
    assert (status, lines[0][:6]) == (0, "valid;")
    Path("photos.zip").write_text("no zip")
    line = "datasets.mine.folder: photos.zip: neither a folder nor a zip (File is not a zip file)"
    assert checked(_changed(datasets={"mine": images | {"folder": "photos.zip"}})) == (1, [line])


def test_a_results_folder_that_is_a_file_is_told(checked) -> None:
    Path("mine").touch()
    assert checked(_changed(results="mine")) == (1, ["results: mine: cannot be written to: mine is a file"])


def test_one_study_with_mistakes_is_enough_for_the_exit_status(checked, capsys: pytest.CaptureFixture[str]) -> None:
    checked(STUDY)
    assert main(["check", "study.yaml", "nowhere.yaml"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("study.yaml: valid; ")
    assert second.startswith("nowhere.yaml: no such file")


BROKEN = {
    "syntax": ("def prepare(:\n", "line 1: cannot be imported: SyntaxError: "),
    "import": ("\nimport nothing_there\n", "line 2: cannot be imported: ModuleNotFoundError: No module named 'nothing_there'"),
    "name": ("\n\nclass Params(Method):\n    pass\n", "line 3: cannot be imported: NameError: name 'Method' is not defined"),
    "nothing": ("", "has no Params, prepare; sparrow.methods says what a file there defines"),
    "annotation": (
        "from __future__ import annotations\nfrom sparrow.pruning.params import Method\n"
        "class Params(Method):\n    level: Level = 1\ndef prepare(params, ratio, generator):\n    pass\n",
        "Params: Level is not defined",
    ),
}


def test_files_that_are_no_entries_are_told_all_at_once_in_a_line_each(tmp_path: Path) -> None:
    package = tmp_path / "src/sparrow"
    shutil.copytree(Path(sparrow.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (text, _) in BROKEN.items():
        (package / f"methods/{name}.py").write_text(text)
    (package / "models/empty.py").touch()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    command = [sys.executable, "-m", "sparrow", "check", "study.yaml"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.removeprefix("error: ").splitlines()
    expected = [f"{package}/models/empty.py: has no Params, check, build; sparrow.models says what a file there defines"]
    expected += [f"{package}/methods/{name}.py: {BROKEN[name][1]}" for name in sorted(BROKEN)]
    assert [line.startswith(start) for line, start in zip(lines, expected, strict=True)] == [True] * len(expected), lines
