"""What YAML 1.1 takes for something else than it looks like is refused, wherever a study is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sparrow.cli.main import main
from sparrow.errors import ConfigError
from sparrow.files.yaml_words import refuse_ambiguous
from sparrow.study.load import load_study, read_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]

# What stands in the file, and what is said of it; what YAML makes of it, YAML itself says below.
VALUES = {
    "yes": "'yes' is true to YAML; write true, or 'yes' in quotes for a text",
    "Off": "'Off' is false to YAML; write false, or 'Off' in quotes for a text",
    "030": "'030' is 24 to YAML; write 30, or '030' in quotes for a text",
    "-064": "'-064' is -52 to YAML; write -64, or '-064' in quotes for a text",
    "0_17": "'0_17' is 15 to YAML; write 17, or '0_17' in quotes for a text",
    "0x10": "'0x10' is 16 to YAML; write 16, or '0x10' in quotes for a text",
    "0b11": "'0b11' is 3 to YAML; write 3, or '0b11' in quotes for a text",
    "1:30": "'1:30' is 90 to YAML; write 90, or '1:30' in quotes for a text",
    "1:30.5": "'1:30.5' is 90.5 to YAML; write a decimal number, or '1:30.5' in quotes for a text",
    "2024-01-01": "'2024-01-01' is the date 2024-01-01 to YAML; write a decimal number, or '2024-01-01' in quotes for a text",
}
KEYS = {
    "on": "the key 'on' is true to YAML; write 'on' in quotes",
    "true": "the key 'true' is true to YAML; write 'true' in quotes",
    "~": "the key '~' is null to YAML; write '~' in quotes",
    "0x10": "the key '0x10' is 16 to YAML; write '0x10' in quotes",
    "010": "the key '010' is 8 to YAML; write '010' in quotes",
    "1.50": "the key '1.50' is 1.5 to YAML; write '1.50' in quotes",
}


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        refuse_ambiguous(path)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("text", "said"), VALUES.items())
def test_a_value_that_is_something_else_to_yaml_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"a:\n  b: [1, {text}]\n")
    read = yaml.safe_load(path.read_text())["a"]["b"][1]
    assert str(read).lower() != text.lower() or not isinstance(read, str)
    assert complaints(path) == [f"{path}: a.b.1: {said}, in line 2"]


@pytest.mark.parametrize(("text", "said"), KEYS.items())
def test_a_label_that_is_no_text_to_yaml_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"a:\n  {text}: 1\n")
    assert not isinstance(next(iter(yaml.safe_load(path.read_text())["a"])), str)
    assert complaints(path) == [f"{path}: a.{text}: {said}, in line 2"]


PLAIN = """
'on': &x {'yes': 'no', "010": "0x10", 16: 1_000}
a: {<<: *x, eps: 1e-2, b: 8/255, c: 0.1, d: .5, e: 0, f: -3, g: 1.0e-5, h: true, i: False, j: null, k: ~, l: , m: 09, n: y}
"""


def test_what_is_what_it_looks_like_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(PLAIN)
    refuse_ambiguous(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_every_study_of_the_repository_is_what_it_looks_like(path: Path) -> None:
    refuse_ambiguous(path)


def test_a_study_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("a: &x {b: *x}\n")
    with pytest.raises(ConfigError, match=r"^[^\n]*an alias is part of what it stands for"):
        read_study(path)


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A study two of whose methods would become one, and whose budget is another than it says."""
    text = (ROOT / "config.yaml").read_text()
    text = text.replace("  lwm:\n", "  on: {kind: lwm}\n  yes: {kind: lwm, steps: 2}\n").replace("epochs: 30,", "epochs: 030,")
    path = tmp_path / "lost.yaml"
    path.write_text(text)
    raw = yaml.safe_load(text)
    assert (len(raw["methods"]), raw["training"]["pretrain"]["epochs"]) == (3, 24)
    return path


def test_a_study_that_yaml_reads_otherwise_is_refused_as_a_file(lost: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study(lost)
    keys = [line.removeprefix(f"{lost}: ").partition(": ")[0] for line in str(caught.value).splitlines()]
    assert keys == ["methods.on", "methods.yes", "training.pretrain.epochs"]


def test_its_costs_are_refused_as_well(lost: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["cost", str(lost)]) == 1
    assert capsys.readouterr().err.count("to YAML; write") == 3


# What comes from no file (`--config`, a module's config) meets the types alone.
@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("attacks.pgd.samples", True, "the truth value true is not valid: must be a valid integer"),
        ("threat.eps", True, "the truth value true is not valid: must be a number above 0"),
        ("training.pretrain.lr", False, "the truth value false is not valid: must be a valid number"),
        ("ratios.0", True, "the truth value true is not valid: must be a valid number"),
        ("objectives.benign.training.prune.epochs", True, "the truth value true is not valid: must be a valid integer"),
        ("attacks.fmn.keep_examples", 1, "the number 1 is not valid: must be a valid boolean"),
        ("attacks.fmn.keep_examples", "0", "the number 0 is not valid: must be a valid boolean"),
        ("attacks.fmn.keep_examples", 1.0, "the number 1.0 is not valid: must be a valid boolean"),
        ("training.prune.channels_last", 0, "the number 0 is not valid: must be a valid boolean"),
    ],
)
def test_truth_values_are_no_numbers_and_numbers_no_truth_values(path: str, value: object, line: str) -> None:
    config = default_study()
    *folders, last = path.split(".")
    node = config
    for folder in folders:
        node[folder] = node.get(folder) or {}
        node = node[folder]
    node[int(last) if isinstance(node, list) else last] = value
    with pytest.raises(ConfigError) as caught:
        load_study(config)
    assert str(caught.value).startswith(f"config.yaml: {path}: {line}")


@pytest.mark.parametrize(("value", "read"), [("yes", True), ("false", False), (True, True)])
def test_what_a_command_line_says_of_a_truth_value_is_taken_as_it_is_meant(value: object, read: bool) -> None:
    config = default_study()
    config["attacks"]["fmn"]["keep_examples"] = value
    assert load_study(config).attacks["fmn"].keep_examples is read
