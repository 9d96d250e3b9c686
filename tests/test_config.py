"""The study's configuration: what is read from it, and what is said when it is wrong."""

import json
import math
from pathlib import Path

import pytest
import yaml

from sparrow import catalogue, plan
from sparrow.config import load_study
from sparrow.errors import ConfigError
from sparrow.yaml_keys import refuse_duplicates

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
    "attack": ("attacks.pdg", None, "attacks.pdg", ["unknown attack 'pdg'", "'pgd'?", "autoattack, fgsm, fmn, pgd"]),
    "objective": ("objectives.tradse", None, "objectives.tradse", ["unknown objective 'tradse'", "'trades'?", "benign"]),
    "verifier": ("verifiers.crwn", None, "verifiers.crwn", ["unknown verifier 'crwn'", "'crown'?", "alpha-crown"]),
    "model": ("models.cnn-smal", None, "models.cnn-smal", ["unknown model 'cnn-smal'", "'cnn-small'?", "cnn-large"]),
    "data set": ("datasets.digit", None, "datasets.digit", ["unknown data set 'digit'", "'digits'?", "valid: digits"]),
    "kind": ("methods.mine", {"kind": "lmw"}, "methods.mine", ["unknown method 'lmw'", "'lwm'?", "hydra, lwm, random"]),
    "far from any": ("methods.zzz", None, "methods.zzz", ["unknown method 'zzz'; valid: admm, deadwooding, harp, hydra, lwm"]),
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
    "allocation": (
        "methods.lwm.allocation",
        "globl",
        "methods.lwm.allocation",
        ["'globl'", "'uniform', 'erk', 'lamp' or 'global'"],
    ),
    "allocation of another": (
        "methods.hydra.allocation",
        "global",
        "methods.hydra.allocation",
        ["'global'", "'uniform', 'erk' or 'lamp'"],
    ),
    "granularity": ("methods.lwm.granularity", "filters", "methods.lwm.granularity", ["'filters'", "'weight' or 'filter'"]),
    "stage": ("evaluate", ["finetund"], "evaluate.0", ["'finetund'", "'dense', 'pruned' or 'finetuned'"]),
    "results": ("results", "/elsewhere", "results", ["'/elsewhere'", "must match"]),
    # Misspelt keys, at every level.
    "top key": ("seed", [1], "seed", ["unknown key 'seed'", "[1]", "'seeds'?", "ratios"]),
    "threat key": ("threat.epss", 0.3, "threat.epss", ["unknown key 'epss'", "0.3", "'eps'?", "eps, norm"]),
    "training key": ("training.prunes", {}, "training.prunes", ["'prunes'", "{}", "'prune'?", "pretrain"]),
    "stage key": ("training.prune.epoch", 7, "training.prune.epoch", ["'epoch'", "7", "'epochs'?", "batch_size"]),
    "method key": ("methods.hydra.gain", 7, "methods.hydra.gain", ["'gain'", "7", "'init_gain'?", "freeze_norms"]),
    "former key": ("methods.lwm.scope", "global", "methods.lwm.scope", ["'scope'", "'global'", "allocation", "granularity"]),
    "granularity of a method without": (
        "methods.snip.granularity",
        "filter",
        "methods.snip.granularity",
        ["'granularity'", "'filter'", "allocation, batches"],
    ),
    "what a method declares": ("methods.hydra.trains", "weights", "methods.hydra.trains", ["'trains'", "'weights'"]),
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


# Options of the methods, with a value that each may not have and what the line has to say.
OPTIONS = [
    *[("lwm.steps", 0, "greater than or equal to 1"), ("lwm.steps", 1.5, "integer"), ("snip.batches", 0, "equal to 1")],
    *[("admm.rho", 0, "greater than 0"), ("admm.rho_growth", 0.9, "equal to 1"), ("admm.updates", 0, "equal to 1")],
    *[("harp.gamma", 0, "greater than 0"), ("harp.start", 0, "greater than 0"), ("harp.init_gain", 0, "greater than 0")],
    *[("harp.floor", 1, "less than 1"), ("harp.floor", -0.1, "equal to 0"), ("harp.freeze_norms", "some", "boolean")],
    *[("hydra.s2ap_gamma", -0.1, "equal to 0"), ("harp.s2ap_gamma", -0.1, "equal to 0"), ("hydra.init_gain", 0, "than 0")],
    *[("deadwooding.eps", 0, "greater than 0"), ("deadwooding.dual_step", 0, "greater than 0")],
    *[("deadwooding.dual_share", 0, "greater than 0"), ("deadwooding.dual_share", 1, "less than 1")],
    *[("deadwooding.distillation", 1.1, "equal to 1"), ("deadwooding.temperature", 0, "greater than 0")],
    *[(f"{kind}.granularity", None, "'weight' or 'filter'") for kind in ("admm", "harp", "hydra", "lwm", "random")],
    *[(f"{kind}.allocation", "even", "'uniform', 'erk'") for kind in ("admm", "hydra", "lwm", "random", "snip")],
]


@pytest.mark.parametrize(("option", "value", "limit"), OPTIONS)
def test_an_option_of_a_method_out_of_range_is_one_line(option, value, limit):
    (line,) = complaints(changed((f"methods.{option}", value)))
    assert line.startswith(f"config.yaml: methods.{option}: {value!r} is not valid: ")
    assert limit in line


def test_every_option_of_every_method_is_put_to_the_test():
    declared = {
        f"{kind}.{name}" for kind in catalogue.kinds("methods") for name in catalogue.load("methods", kind).Params.model_fields
    }
    # A yes or no leaves little to get wrong.
    assert declared - {option for option, _, _ in OPTIONS} == {"hydra.freeze_norms"}


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
    study = load_study(changed(("methods.lwm-global", {"kind": "lwm", "allocation": "global"})))
    assert [(study.methods[label].kind, study.methods[label].allocation) for label in ("lwm", "lwm-global")] == [
        ("lwm", "uniform"),
        ("lwm", "global"),
    ]


# Every value differs between the two stages.
SCHEDULES = {
    "prune": {"epochs": 15, "batch_size": 64, "optimizer": "sgd", "lr": 0.1, "lr_decay": "constant", "momentum": 0.9}
    | {"weight_decay": 0.0, "max_grad_norm": None, "warmup_epochs": 1, "ramp_epochs": 2},
    "finetune": {"epochs": 20, "batch_size": 32, "optimizer": "adam", "lr": 0.005, "lr_decay": "cosine", "momentum": 0.5}
    | {"weight_decay": 0.25, "max_grad_norm": 4.0, "warmup_epochs": 3, "ramp_epochs": 4},
}
TAKEN_OVER = {"optimizer", "lr", "momentum", "weight_decay", "max_grad_norm"}


def two_schedules(*changes):
    """A study with a method of every kind, and with schedules that have nothing in common."""
    methods = dict.fromkeys(catalogue.kinds("methods")) | {"lwm-iterative": {"kind": "lwm", "steps": 5}}
    stages = [(f"training.{stage}", dict(schedule)) for stage, schedule in SCHEDULES.items()]
    return load_study(changed(("methods", methods), *stages, *changes))


@pytest.mark.parametrize("method", ["admm", "deadwooding", "lwm-iterative"])
def test_a_method_that_trains_weights_does_so_as_fine_tuning_does(method):
    taken = {key: SCHEDULES["finetune"][key] for key in TAKEN_OVER}
    assert two_schedules().pruning_schedule("benign", method).model_dump() == SCHEDULES["prune"] | taken


@pytest.mark.parametrize("method", ["hydra", "harp", "snip"])
def test_a_method_that_trains_scores_does_so_under_the_pruning_schedule(method):
    assert two_schedules().pruning_schedule("benign", method).model_dump() == SCHEDULES["prune"]


@pytest.mark.parametrize(
    ("method", "stage", "patch", "change"),
    [
        ("hydra", "prune", {"lr": 0.5, "epochs": 7}, {"lr": 0.5, "epochs": 7}),
        ("hydra", "finetune", {"lr": 0.5, "epochs": 7}, {}),
        ("admm", "prune", {"lr": 0.5, "epochs": 7}, {"epochs": 7}),
        ("admm", "finetune", {"lr": 0.5, "epochs": 7, "optimizer": "sgd"}, {"lr": 0.5, "optimizer": "sgd"}),
        ("admm", "finetune", {"max_grad_norm": None}, {"max_grad_norm": None}),
        ("lwm-iterative", "finetune", {"momentum": 0.1, "weight_decay": 0.5}, {"momentum": 0.1, "weight_decay": 0.5}),
    ],
)
def test_an_objectives_patch_reaches_the_methods_that_read_it(method, stage, patch, change):
    path = f"objectives.benign.training.{stage}"
    before, after = two_schedules(), two_schedules((path, patch))
    assert after.pruning_schedule("benign", method) == before.pruning_schedule("benign", method).model_copy(update=change)
    assert after.pruning_schedule("adversarial", method) == before.pruning_schedule("adversarial", method)


def pruning(study, method, objective="benign"):
    return plan.prune_slice(study, plan.Cell(plan.Parent("digits", "cnn-small", objective, 0), method, 0.9))


@pytest.mark.parametrize("kind", catalogue.kinds("methods"))
def test_a_threat_of_its_own_has_a_method_with_an_eps_and_no_other(kind):
    expected = {"method_threat": {"norm": "linf", "eps": 0.1}} if kind == "deadwooding" else {}
    made = pruning(two_schedules(), kind)
    assert {key: value for key, value in made.items() if key == "method_threat"} == expected


def test_a_methods_own_eps_comes_before_the_studys():
    made = pruning(two_schedules(("methods.deadwooding", {"eps": 0.25})), "deadwooding")
    assert (made["method_threat"]["eps"], "eps" in made["method"]) == (0.25, False)


@pytest.mark.parametrize(("method", "touched"), [("deadwooding", True), ("hydra", False), ("lwm", False), ("admm", False)])
def test_another_threat_touches_a_method_with_an_eps_under_a_benign_objective(method, touched):
    before, after = two_schedules(), two_schedules(("threat.eps", 0.2))
    assert (pruning(before, method) != pruning(after, method)) is touched


def test_another_threat_leaves_a_method_that_names_its_own_eps():
    own = ("methods.deadwooding", {"eps": 0.25})
    assert pruning(two_schedules(own), "deadwooding") == pruning(two_schedules(own, ("threat.eps", 0.2)), "deadwooding")


def test_a_valid_study_survives_json():
    # Snakemake hands the config to its jobs in this form.
    assert load_study(json.loads(json.dumps(default()))) == load_study(default())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: [0]\nseeds: [1]\n", ["seeds: is there twice, in lines 1 and 2; keep one"]),
        ("methods:\n  lwm:\n  hydra:\n  lwm: {steps: 2}\n", ["methods.lwm: is there twice, in lines 2 and 4; keep one"]),
        ("a: [{b: 1, b: 2}]\nc: 1\nc: 2\n", ["a.0.b: is there twice, in lines 1 and 1; keep one", "c: is there twice"]),
    ],
)
def test_a_key_that_is_there_twice_is_refused(text: str, expected: list[str], tmp_path: Path) -> None:
    # YAML itself would take the last one and say nothing.
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        refuse_duplicates(path)
    lines = str(error.value).splitlines()
    assert [line.startswith(f"{path}: {start}") for line, start in zip(lines, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize("text", ["", "a: {b: 1}\nc: {b: 1}\n", "[1, 1]"])
def test_equal_keys_of_different_mappings_are_fine(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text)
    refuse_duplicates(tmp_path / "study.yaml")
