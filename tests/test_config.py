"""The study's configuration: what is read from it, and what is said when it is wrong."""

import json
import math
from pathlib import Path

import pytest
import yaml

from sparrow.config import load_study
from sparrow.errors import ConfigError

ROOT = Path(__file__).parents[1]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))]
SECTIONS = ["threat", "datasets", "models", "objectives", "methods", "training", "attacks", "verifiers"]


def default():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(*changes):
    """The default study with (dotted path, value) pairs put in."""
    config = default()
    for path, value in changes:
        *folders, last = path.split(".")
        node = config
        for folder in folders:
            if node.get(folder) is None:
                node[folder] = {}
            node = node[folder]
        node[last] = value
    return config


def complaints(config):
    with pytest.raises(ConfigError) as caught:
        load_study(config)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_is_valid(path):
    assert load_study(yaml.safe_load(path.read_text())).ratios


# What is wrong, the value, the key that the line has to name, and what else it has to say.
MISTAKES = {
    # Names that do not exist, with the nearest one that does.
    "method": ("methods.hidra", None, "methods.hidra", ["unknown method 'hidra'", "'hydra'?", "hydra, lwm, random"]),
    "attack": ("attacks.pdg", None, "attacks.pdg", ["unknown attack 'pdg'", "'pgd'?", "autoattack, fgsm, pgd"]),
    "objective": ("objectives.tradse", None, "objectives.tradse", ["unknown objective 'tradse'", "'trades'?", "benign"]),
    "verifier": ("verifiers.crwn", None, "verifiers.crwn", ["unknown verifier 'crwn'", "'crown'?", "alpha-crown"]),
    "model": ("models.cnn-smal", None, "models.cnn-smal", ["unknown model 'cnn-smal'", "'cnn-small'?", "cnn-large"]),
    "data set": ("datasets.digit", None, "datasets.digit", ["unknown data set 'digit'", "'digits'?", "valid: digits"]),
    "kind": ("methods.mine", {"kind": "lmw"}, "methods.mine", ["unknown method 'lmw'", "'lwm'?", "hydra, lwm, random"]),
    "far from any": ("methods.zzz", None, "methods.zzz", ["unknown method 'zzz'; valid: hydra, lwm, random"]),
    # Numbers out of range.
    "ratio 0": ("ratios", [0], "ratios.0", ["0 is", "greater than 0"]),
    "ratio 1": ("ratios", [0.5, 1], "ratios.1", ["1 is", "less than 1"]),
    "ratio below": ("ratios", [-0.1], "ratios.0", ["-0.1 is", "greater than 0"]),
    "ratio above": ("ratios", [1.5], "ratios.0", ["1.5 is", "less than 1"]),
    "eps 0": ("threat.eps", 0, "threat.eps", ["0 is", "greater than 0"]),
    "eps below": ("threat.eps", -0.1, "threat.eps", ["-0.1 is", "greater than 0"]),
    "eps text": ("threat.eps", "8/255", "threat.eps", ["'8/255'", "valid number"]),
    "objective's eps": ("objectives.adversarial.eps", 0, "objectives.adversarial.eps", ["0 is", "greater than 0"]),
    "nan": ("threat.eps", math.nan, "threat.eps", ["nan is", "finite"]),
    "inf": ("training.prune.lr", math.inf, "training.prune.lr", ["inf is", "finite"]),
    "seed below": ("seeds", [-1], "seeds.0", ["-1 is", "greater than or equal to 0"]),
    "seed fraction": ("seeds", [1.5], "seeds.0", ["1.5 is", "integer"]),
    "split": ("datasets.digits", {"test": 0.9}, "datasets.digits", ["1.05", "below 1"]),
    # Values that are none of the choices.
    "norm": ("threat.norm", "l1", "threat.norm", ["'l1'", "'linf' or 'l2'"]),
    "scope": ("methods.lwm.scope", "globl", "methods.lwm.scope", ["'globl'", "'layer' or 'global'"]),
    "stage": ("evaluate", ["finetund"], "evaluate.0", ["'finetund'", "'dense', 'pruned' or 'finetuned'"]),
    "results": ("results", "/elsewhere", "results", ["'/elsewhere'", "must match"]),
    # Misspelt keys, at every level.
    "top key": ("seed", [1], "seed", ["unknown key 'seed'", "[1]", "'seeds'?", "ratios"]),
    "threat key": ("threat.epss", 0.3, "threat.epss", ["unknown key 'epss'", "0.3", "'eps'?", "eps, norm"]),
    "training key": ("training.prunes", {}, "training.prunes", ["'prunes'", "{}", "'prune'?", "pretrain"]),
    "stage key": ("training.prune.epoch", 7, "training.prune.epoch", ["'epoch'", "7", "'epochs'?", "batch_size"]),
    "method key": ("methods.hydra.gain", 7, "methods.hydra.gain", ["'gain'", "7", "'init_gain'?", "freeze_norms"]),
    "attack key": ("attacks.pgd.step", 7, "attacks.pgd.step", ["'step'", "7", "'steps'?", "restarts"]),
    "patch": ("objectives.benign.training.prunes", {}, "objectives.benign.training.prunes", ["{}", "'prune'?"]),
    "patch key": (
        "objectives.benign.training.prune.epoch",
        7,
        "objectives.benign.training.prune.epoch",
        ["'epoch'", "7", "'epochs'?", "batch_size"],
    ),
    # Twice.
    "seed twice": ("seeds", [3, 4, 3], "seeds", ["3 appears 2 times", "once"]),
    "ratio twice": ("ratios", [0.5, 0.50], "ratios", ["0.5 appears 2 times", "once"]),
    "stage twice": ("evaluate", ["pruned", "pruned"], "evaluate", ["pruned appears 2 times", "once"]),
    # Of the wrong type or form.
    "one ratio": ("ratios", 0.5, "ratios", ["0.5 is", "valid list"]),
    "entry": ("methods.hydra", 3, "methods.hydra", ["3 is", "valid dictionary"]),
    "label": ("methods.My_Label", {"kind": "lwm"}, "methods.My_Label", ["'My_Label'", "must match"]),
    "label dense": ("methods.dense", {"kind": "lwm"}, "methods.dense", ["'dense'", "another label"]),
    # Valid alone, not together.
    "no pruned": ("evaluate", ["dense"], "evaluate", ["['dense']", "add 'finetuned' or 'pruned'"]),
    "norm of fgsm": ("threat.norm", "l2", "attacks.fgsm", ["'l2'", "fgsm knows only linf"]),
    "ramp": ("training.prune.ramp_epochs", 16, "training.prune", ["is 16", "at most epochs (15)"]),
    "ramp in patch": (
        "objectives.crown-ibp.training.pretrain.epochs",
        31,
        "objectives.crown-ibp.training.pretrain",
        ["warmup_epochs + ramp_epochs is 32", "at most epochs (31)"],
    ),
    "patch's value": (
        "objectives.benign.training.prune.lr",
        -1,
        "objectives.benign.training.prune.lr",
        ["-1", "greater than 0"],
    ),
}


@pytest.mark.parametrize(("path", "value", "key", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_what_is_valid(path, value, key, parts):
    (line,) = complaints(changed((path, value)))
    assert line.startswith(f"config.yaml: {key}: ")
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize("section", ["seeds", "ratios", "evaluate"])
def test_an_empty_list_is_named(section):
    assert complaints(changed((section, []))) == [f"config.yaml: {section}: [] is empty; give at least one entry"]


@pytest.mark.parametrize("section", ["datasets", "models", "objectives", "methods", "attacks", "verifiers"])
def test_an_empty_section_is_named(section):
    assert complaints(changed((section, {}))) == [f"config.yaml: {section}: {{}} is empty; give at least one entry"]


@pytest.mark.parametrize("section", [*SECTIONS, "seeds", "ratios"])
def test_a_missing_section_is_named(section):
    config = default()
    del config[section]
    assert complaints(config) == [f"config.yaml: {section}: missing; this key is required"]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", [None, ["lwm"], "lwm", 3], ids=repr)
def test_a_section_of_the_wrong_type_is_named(section, value):
    (line,) = complaints(changed((section, value)))
    assert line.startswith(f"config.yaml: {section}: {value!r} is not valid: must be a valid dictionary")


def test_a_study_that_is_no_mapping_is_refused():
    (line,) = complaints(["hydra"])
    assert line.startswith("config.yaml: study: ['hydra'] is not valid")


def test_a_value_that_yaml_alone_knows_is_refused():
    # `seeds: [2024-01-01]` is a date to YAML; it is no number, and no JSON.
    (line,) = complaints(changed(("seeds", [yaml.safe_load("2024-01-01")])))
    assert line.startswith("config.yaml: ")


def test_a_model_too_large_for_the_images_is_refused(monkeypatch):
    monkeypatch.setattr("sparrow.data.digits.SHAPE", (1, 2, 2))
    (line,) = complaints(default())
    assert line.startswith("config.yaml: models.cnn-small: does not fit datasets.digits: images of 2 x 2 pixels are too small")


def test_several_mistakes_give_several_lines():
    lines = complaints(changed(("threat.eps", -1), ("methods.hidra", None), ("ratios", [0.5, 2])))
    assert [line.split(": ")[1] for line in lines] == ["threat.eps", "methods.hidra", "ratios.1"]


def test_the_message_names_the_file_that_was_given():
    with pytest.raises(ConfigError, match=r"^my-study\.yaml: seeds: missing"):
        load_study({key: value for key, value in default().items() if key != "seeds"}, "my-study.yaml")


def test_a_patch_changes_what_it_names_and_leaves_the_rest():
    study = load_study(changed(("objectives.benign.training.prune", {"lr": 0.5})))
    patched, shared = study.schedule("benign", "prune"), study.training.prune
    assert patched == shared.model_copy(update={"lr": 0.5})


def test_a_patch_of_one_objective_leaves_the_others():
    study = load_study(changed(("objectives.benign.training.prune", {"lr": 0.5})))
    assert study.schedule("adversarial", "prune") == study.training.prune


def test_a_patch_of_one_stage_leaves_the_others():
    study = load_study(changed(("objectives.benign.training.prune", {"lr": 0.5})))
    assert study.schedule("benign", "finetune") == study.training.finetune


def test_a_patch_can_set_a_value_back_to_null():
    config = changed(("training.prune.max_grad_norm", 1.0), ("objectives.benign.training.prune", {"max_grad_norm": None}))
    assert load_study(config).schedule("benign", "prune").max_grad_norm is None


def test_an_entry_without_settings_may_be_written_in_two_ways():
    assert load_study(changed(("methods.hydra", None))) == load_study(changed(("methods.hydra", {})))


def test_kind_lets_two_labels_share_a_method():
    study = load_study(changed(("methods.lwm-global", {"kind": "lwm", "scope": "global"})))
    assert [(study.methods[label].kind, study.methods[label].scope) for label in ("lwm", "lwm-global")] == [
        ("lwm", "layer"),
        ("lwm", "global"),
    ]


def test_a_valid_study_survives_json():
    # Snakemake hands the config to its jobs in this form.
    assert load_study(json.loads(json.dumps(default()))) == load_study(default())
