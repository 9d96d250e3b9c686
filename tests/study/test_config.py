"""The study's configuration: what is read from it, and what is said when it is wrong."""

import json
import math
from pathlib import Path

import pytest
import yaml

from sparrow import catalogue
from sparrow.data.source import Description
from sparrow.errors import ConfigError
from sparrow.files.paths import Cell, Parent
from sparrow.files.strict_yaml import refuse_duplicates
from sparrow.study import job_specs
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))]
SECTIONS = ["threat", "datasets", "models", "objectives", "methods", "training", "attacks", "verifiers"]


def default():
    return default_study()


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
    "method": ("methods.hidra", None, "methods.hidra", ["unknown method 'hidra'", "'hydra'?", "valid: admm, "]),
    "attack": ("attacks.pdg", None, "attacks.pdg", ["unknown attack 'pdg'", "'pgd'?", "autoattack, fgsm, fmn, pgd"]),
    "objective": ("objectives.tradse", None, "objectives.tradse", ["unknown objective 'tradse'", "'trades'?", "benign"]),
    "verifier": ("verifiers.crwn", None, "verifiers.crwn", ["unknown verifier 'crwn'", "'crown'?", "alpha-crown"]),
    "model": ("models.cnn-smal", None, "models.cnn-smal", ["unknown model 'cnn-smal'", "'cnn-small'?", "cnn-large"]),
    "data set": ("datasets.digit", None, "datasets.digit", ["unknown data set 'digit'", "'digits'?", "valid: cifar10, "]),
    "kind": ("methods.mine", {"kind": "lmw"}, "methods.mine", ["unknown method 'lmw'", "'lwm'?", "valid: admm, "]),
    "far from any": ("methods.zzz", None, "methods.zzz", ["unknown method 'zzz'; valid: admm, "]),
    # Numbers out of range.
    "ratio 0": ("ratios", [0], "ratios.0", ["0 is", "greater than 0"]),
    "ratio 1": ("ratios", [0.5, 1], "ratios.1", ["1 is", "less than 1"]),
    "ratio below": ("ratios", [-0.1], "ratios.0", ["-0.1 is", "greater than 0"]),
    "ratio above": ("ratios", [1.5], "ratios.0", ["1.5 is", "less than 1"]),
    "eps 0": ("threat.eps", 0, "threat.eps", ["0 is", "greater than 0"]),
    "eps below": ("threat.eps", -0.1, "threat.eps", ["-0.1 is", "greater than 0"]),
    "eps text": ("threat.eps", "some", "threat.eps", ["'some' is not valid: must be a number above 0, or a fraction"]),
    "objective's eps": ("objectives.adversarial.eps", 0, "objectives.adversarial.eps", ["0 is", "greater than 0"]),
    "nan": ("threat.eps", math.nan, "threat.eps", ["nan is", "finite"]),
    "inf": ("training.prune.lr", math.inf, "training.prune.lr", ["inf is", "finite"]),
    "seed below": ("seeds", [-1], "seeds.0", ["-1 is", "greater than or equal to 0"]),
    "seed fraction": ("seeds", [1.5], "seeds.0", ["1.5 is", "integer"]),
    "split": ("datasets.digits", {"test": 0.9}, "datasets.digits", ["1.05", "below 1"]),
    "method's ratio": ("methods.lwm.ratios", [1.5], "methods.lwm.ratios.0", ["1.5 is", "less than 1"]),
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
    "stage": ("evaluate", ["finetund"], "evaluate.0", ["'finetund'", "'dense', 'pruned', 'finetuned' or 'grafted'"]),
    "results": ("results", "/elsewhere", "results", ["'/elsewhere'", "must be a path below", "no spaces"]),
    # Misspelt keys, at every level.
    "top key": ("seed", [1], "seed", ["unknown key 'seed'", "[1]", "'seeds'?", "ratios"]),
    "threat key": ("threat.epss", 0.3, "threat.epss", ["unknown key 'epss'", "0.3", "'eps'?", "eps, norm"]),
    "training key": ("training.prunes", {}, "training.prunes", ["'prunes'", "{}", "'prune'?", "pretrain"]),
    "stage key": ("training.prune.epoch", 7, "training.prune.epoch", ["'epoch'", "7", "'epochs'?", "batch_size"]),
    "method key": ("methods.hydra.gain", 7, "methods.hydra.gain", ["'gain'", "7", "'init_gain'?", "freeze_norms"]),
    "former key": ("methods.lwm.scope", "global", "methods.lwm.scope", ["'scope'", "'global'", "allocation", "granularity"]),
    "granularity of a method without filters": (
        "methods.snip.granularity",
        "filter",
        "methods.snip.granularity",
        ["'filter'", "'weight', or N:M such as '2:4'"],
    ),
    "granularity of a method that ranks all layers": (
        "methods.deadwooding.granularity",
        "2:4",
        "methods.deadwooding.granularity",
        ["'granularity'", "'2:4'", "distillation, dual_share"],
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
    "entry": ("methods.hydra", 3, "methods.hydra", ["3 is", "mapping of keys to values"]),
    "label": ("methods.My_Label", {"kind": "lwm"}, "methods.My_Label", ["'My_Label'", "must be small letters"]),
    "label analyses": ("datasets.analyses", {"kind": "digits"}, "datasets.analyses", ["'analyses'", "another label"]),
    "label dense": ("methods.dense", {"kind": "lwm"}, "methods.dense", ["'dense'", "another label"]),
    # Valid alone, not together.
    "ramp": ("training.prune.ramp_epochs", 16, "training.prune", ["is 16", "at most epochs (15)"]),
    "schedule of a method": (
        "methods.imp",
        {"rewind_epochs": 31},
        "methods.imp",
        ["rewind_epochs is 31", "at most the epochs of pretrain (30)"],
    ),
    "rewinding beyond a round": (
        "methods.imp",
        {"rewind_epochs": 6, "round_epochs": 5},
        "methods.imp",
        ["rewind_epochs is 6", "at most round_epochs (5)"],
    ),
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


def test_a_norm_that_an_attack_does_not_know_is_one_line():
    (line,) = complaints(changed(("threat.norm", "l2"), ("attacks.fgsm", None)))
    assert line == "config.yaml: attacks.fgsm: threat.norm is 'l2', fgsm knows only linf"


EXCHANGES = ("dnr", "flying-bird", "flying-bird-plus")
FROM_SCRATCH = (*EXCHANGES, "bcs", "random-scratch")
PATTERNED = ("pwoa", "rst", "snip", "undecayed")
GRANULAR = ("admm", "harp", "hydra", "lwm", "mrpf", "random", "twinrep", "vericompress")

# Options of the methods, with a value that each may not have and what the line has to say.
OPTIONS = [
    *[("lwm.steps", 0, "greater than or equal to 1"), ("lwm.steps", 1.5, "integer"), ("snip.batches", 0, "equal to 1")],
    *[("robust-bird.stage1", "sgd", "'benign' or 'objective'"), ("robust-bird.masks", 1, "equal to 2")],
    *[("robust-bird.distance", 0, "than 0"), ("robust-bird.distance", 1, "than 1"), ("robust-bird.relative", "so", "boolean")],
    *[("rst.decay", -0.1, "equal to 0"), ("rst.scale_fan", "so", "boolean"), ("rst.allocation", "lamp", "'uniform' or 'erk'")],
    *[("undecayed.decay", -0.1, "equal to 0"), ("undecayed.batches", 0, "equal to 1")],
    *[("admm.rho", 0, "greater than 0"), ("admm.rho_growth", 0.9, "equal to 1"), ("admm.updates", 0, "equal to 1")],
    *[("harp.gamma", 0, "greater than 0"), ("harp.start", 0, "greater than 0"), ("harp.init_gain", 0, "greater than 0")],
    *[("harp.floor", 1, "less than 1"), ("harp.floor", -0.1, "equal to 0"), ("harp.freeze_norms", "some", "boolean")],
    *[("hydra.s2ap_gamma", -0.1, "equal to 0"), ("harp.s2ap_gamma", -0.1, "equal to 0"), ("hydra.init_gain", 0, "than 0")],
    *[("boosting-ticket.eps", 0, "greater than 0"), ("boosting-ticket.search_lr", 0, "greater than 0")],
    *[("imp.fraction", 0, "greater than 0"), ("imp.fraction", 1, "less than 1"), ("imp.rewind", "all", "'weights' or 'lr'")],
    *[("imp.rewind_epochs", -0.5, "equal to 0"), ("imp.round_epochs", 0, "equal to 1"), ("imp.round_epochs", 2.5, "integer")],
    *[(f"{kind}.s2ap_warmup_epochs", -1, "equal to 0") for kind in ("harp", "hydra")],
    *[("deadwooding.eps", 0, "greater than 0"), ("deadwooding.dual_step", 0, "greater than 0")],
    *[("deadwooding.dual_share", 0, "greater than 0"), ("deadwooding.dual_share", 1, "less than 1")],
    *[("deadwooding.distillation", 1.1, "equal to 1"), ("deadwooding.temperature", 0, "greater than 0")],
    *[("mad.batches", 0, "equal to 1"), ("mad.eps", 0, "greater than 0"), ("mad.steps", 0, "equal to 1")],
    *[("mad.step_size", 0, "greater than 0"), ("mad.mask_steps", 0, "equal to 1"), ("mad.mask_lr", 0, "greater than 0")],
    *[("pwoa.alpha", 0, "greater than 0"), ("pwoa.temperature", 0, "greater than 0"), ("pwoa.sigma", 0, "greater than 0")],
    *[("pwoa.admm_share", 0, "greater than 0"), ("pwoa.admm_share", 1, "less than 1"), ("pwoa.admm_epochs", 0, "equal to 1")],
    *[("pwoa.rho", 0, "greater than 0"), ("pwoa.rho", 1.1, "equal to 1"), ("pwoa.rho_growth", 0.9, "equal to 1")],
    *[("pwoa.lambda_x", -1, "equal to 0"), ("pwoa.lambda_y", -1, "equal to 0"), ("pwoa.reset_targets", "some", "boolean")],
    *[("bcs.decay", -0.1, "equal to 0"), ("bcs.decay", 1, "less than 1"), ("bcs.noise", -1, "equal to 0")],
    *[("ccrp.eps", 0, "greater than 0"), ("ccrp.mutation", 0, "greater than 0"), ("ccrp.mutation", 1, "less than 1")],
    *[("ccrp.leeway", 0.9, "equal to 1"), ("ccrp.generations", -1, "equal to 0")],
    *[(f"ccrp.{name}", 0, "equal to 1") for name in ("images", "pgd_steps", "population", "rounds")],
    *[("dnr.clean", 1.1, "equal to 1"), ("dnr.momentum", 1, "less than 1")],
    *[(f"flying-bird-plus.{name}", 1.1, "equal to 1") for name in ("adapts_from", "threshold")],
    *[(f"flying-bird-plus.{name}", -0.1, "equal to 0") for name in ("extra_grown", "extra_pruned", "surplus")],
    *[("flying-bird-plus.epochs_seen", 1, "equal to 2"), ("flying-bird.every_late", 0, "greater than 0")],
    *[(f"{kind}.growth", "all", "'random' or 'gradient'") for kind in ("flying-bird", "flying-bird-plus")],
    *[(f"{kind}.every", 0, "greater than 0") for kind in EXCHANGES],
    *[(f"{kind}.exchanged", 0, "greater than 0") for kind in EXCHANGES],
    *[(f"{kind}.exchanged_end", 1.1, "equal to 1") for kind in EXCHANGES],
    ("flying-bird-plus.every_late", 0, "greater than 0"),
    *[
        ("fre.normalise", "all", "'none' or 'layer'"),
        ("fre.size", "cube", "'absolute' or 'square'"),
        ("fre.steps", 0, "equal to 1"),
    ],
    *[("iwi.inherit_ratio", 0, "greater than 0"), ("iwi.inherit_ratio", 1, "less than 1")],
    *[("mrpf.ascents", 0, "equal to 1"), ("mrpf.batches", 0, "equal to 1"), ("mrpf.radius", 0, "greater than 0")],
    *[("mrpf.strength", -0.1, "equal to 0"), ("mrpf.strength", 1.1, "equal to 1")],
    *[("twinrep.decay", -0.1, "equal to 0"), ("twinrep.prune_at", 0, "greater than 0"), ("twinrep.prune_at", 1, "less than 1")],
    *[("twinrep.initialisation", "none", "'product' or 'split'"), ("vericompress.thickening_epochs", 0, "equal to 1")],
    *[(f"{kind}.rescale", "some", "boolean") for kind in FROM_SCRATCH],
    *[(f"{kind}.granularity", "weight", "'filter'") for kind in ("ccrp", "fre")],
    *[(f"{kind}.granularity", None, "'weight' or 'filter'") for kind in GRANULAR],
    *[(f"{kind}.granularity", "filter", "'weight', or N:M") for kind in PATTERNED],
    *[(f"{kind}.dense_layers", "0.weight", "list") for kind in sorted({*GRANULAR, *PATTERNED} - {"harp", "mrpf"})],
    *[(f"{kind}.norm_statistics", "fresh", "'kept' or 'recompute'") for kind in catalogue.kinds("methods")],
    *[
        (f"{kind}.allocation", "even", "'uniform', 'erk'")
        for kind in (
            *FROM_SCRATCH,
            *["admm", "hydra", "iwi", "lwm", "pwoa", "random", "snip", "twinrep", "undecayed", "vericompress"],
        )
    ],
]


@pytest.mark.parametrize(("option", "value", "limit"), OPTIONS)
def test_an_option_of_a_method_out_of_range_is_one_line(option, value, limit):
    (line,) = complaints(changed((f"methods.{option}", value)))
    assert line.startswith(f"config.yaml: methods.{option}: {value!r} is not valid: ")
    assert limit in line


def test_every_option_of_every_method_is_put_to_the_test():
    declared = {
        f"{kind}.{name}" for kind in catalogue.kinds("methods") for name in catalogue.load("methods", kind).Params.model_fields
    } - {f"{kind}.ratios" for kind in catalogue.kinds("methods")}
    # A yes or no leaves little to get wrong.
    assert declared - {option for option, _, _ in OPTIONS} == {"hydra.freeze_norms"}


@pytest.mark.parametrize("kind", ["harp", "hydra"])
def test_a_warmup_of_nothing_is_one_line(kind):
    told = f"config.yaml: methods.{kind}: s2ap_warmup_epochs is 5, which needs an s2ap_gamma above 0"
    assert complaints(changed((f"methods.{kind}.s2ap_warmup_epochs", 5))) == [told]


@pytest.mark.parametrize(
    ("method", "settings", "least"),
    [
        ("hydra", {"s2ap_gamma": 0.1, "s2ap_warmup_epochs": 5}, 6),
        ("harp", {"s2ap_gamma": 0.1, "s2ap_warmup_epochs": 4.5}, 5),
        ("robust-bird", None, 5),
        ("robust-bird", {"masks": 7}, 7),
    ],
)
def test_a_method_with_too_few_epochs_is_one_line(method, settings, least):
    def with_epochs(epochs):
        patch = {"objectives.benign.training": {"prune": {"epochs": epochs}}}
        return changed((f"methods.{method}", settings), *patch.items())

    (line,) = complaints(with_epochs(least - 1))
    assert line.startswith(f"config.yaml: methods.{method}.")
    assert line.endswith("or more epochs")
    assert load_study(with_epochs(least))


def test_seeds_may_be_texts_as_snakemake_hands_them_on() -> None:
    assert load_study(changed(("seeds", ["0", "10"]))).seeds == [0, 10]


@pytest.mark.parametrize("section", ["seeds", "ratios", "evaluate"])
def test_an_empty_list_is_named(section):
    assert complaints(changed((section, []))) == [f"config.yaml: {section}: [] is empty; give at least one entry"]


@pytest.mark.parametrize("section", ["datasets", "models", "objectives", "attacks", "verifiers"])
def test_an_empty_section_is_named(section):
    assert complaints(changed((section, {}))) == [f"config.yaml: {section}: {{}} is empty; give at least one entry"]


# Methods and ratios are not needed where nothing is pruned: tests/study/test_dense_only.py.
@pytest.mark.parametrize("section", [*(section for section in SECTIONS if section != "methods"), "seeds"])
def test_a_missing_section_is_named(section):
    config = default()
    del config[section]
    assert complaints(config) == [f"config.yaml: {section}: missing; this key is required"]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", [None, ["lwm"], "lwm", 3], ids=repr)
def test_a_section_of_the_wrong_type_is_named(section, value):
    (line,) = complaints(changed((section, value)))
    assert line.startswith(f"config.yaml: {section}: {value!r} is not valid: must be a mapping of keys to values")


def test_a_study_that_is_no_mapping_is_refused():
    (line,) = complaints(["hydra"])
    assert line.startswith("config.yaml: study: ['hydra'] is not valid")


def test_a_value_that_yaml_alone_knows_is_refused():
    # `seeds: [2024-01-01]` is a date to YAML; it is no number, and no JSON.
    (line,) = complaints(changed(("seeds", [yaml.safe_load("2024-01-01")])))
    assert line.startswith("config.yaml: ")


def test_a_model_too_large_for_the_images_is_refused(monkeypatch):
    monkeypatch.setattr("sparrow.datasets.digits.describe", lambda params: Description((1, 2, 2), 10))
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
    assert study.schedule("benign", "finetune").model_dump() == study.training.finetune.model_dump(exclude={"distillation"})


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
    | {"weight_decay": 0.0, "max_grad_norm": None, "warmup_epochs": 1, "ramp_epochs": 2}
    | {"precision": "bfloat16", "channels_last": True, "cycles": 1},
    "finetune": {"epochs": 20, "batch_size": 32, "optimizer": "adam", "lr": 0.005, "lr_decay": "cosine", "momentum": 0.5}
    | {"weight_decay": 0.25, "max_grad_norm": 4.0, "warmup_epochs": 3, "ramp_epochs": 4}
    | {"precision": "float32", "channels_last": False, "cycles": 1},
}
TAKEN_OVER = {"optimizer", "lr", "momentum", "weight_decay", "max_grad_norm"}


def two_schedules(*changes):
    """A study with a method of every kind, with schedules that have nothing in common, and whatever radius it is given."""
    methods = dict.fromkeys(catalogue.kinds("methods")) | {"lwm-iterative": {"kind": "lwm", "steps": 5}}
    # On a network without batch norm, at ratios that leave every layer a filter.
    methods["twinrep"], sections = {"initialisation": "split"}, [("ratios", [0.5, 0.9])]
    stages = [(f"training.{stage}", dict(schedule)) for stage, schedule in SCHEDULES.items()]
    return load_study(changed(("methods", methods), *sections, ("verifiers.cascade.eps", None), *stages, *changes))


@pytest.mark.parametrize("method", ["admm", "deadwooding", "lwm-iterative"])
def test_a_method_that_trains_weights_does_so_as_fine_tuning_does(method):
    taken = {key: SCHEDULES["finetune"][key] for key in TAKEN_OVER}
    assert two_schedules().pruning_schedule("benign", method, 0.5).model_dump() == SCHEDULES["prune"] | taken


@pytest.mark.parametrize("method", ["hydra", "harp", "snip"])
def test_a_method_that_trains_scores_does_so_under_the_pruning_schedule(method):
    assert two_schedules().pruning_schedule("benign", method, 0.5).model_dump() == SCHEDULES["prune"]


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
    assert after.pruning_schedule("benign", method, 0.5) == before.pruning_schedule("benign", method, 0.5).model_copy(
        update=change
    )
    assert after.pruning_schedule("adversarial", method, 0.5) == before.pruning_schedule("adversarial", method, 0.5)


def pruning(study, method, objective="benign"):
    return job_specs.prune_spec(study, Cell(Parent("digits", "cnn-small", objective, 0), method, 0.9)).model_dump()


WITH_EPS = ("boosting-ticket", "ccrp", "deadwooding", "mad")


@pytest.mark.parametrize("kind", catalogue.kinds("methods"))
def test_a_threat_of_its_own_has_a_method_with_an_eps_and_no_other(kind):
    expected = {"method_threat": {"norm": "linf", "eps": 0.1}} if kind in WITH_EPS else {}
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


@pytest.mark.parametrize("entry", ["attacks.pgd", "verifiers.crown"])
@pytest.mark.parametrize(
    ("eps", "radii"),
    [(None, None), (0.1, [0.1]), (0.5, [0.5]), ([0.1], [0.1]), ([0.2, 0.1], [0.2, 0.1]), ([1e-05, "1/2"], [1e-05, 0.5])],
    ids=repr,
)
def test_eps_is_a_number_a_list_of_them_or_nothing(entry, eps, radii):
    room, label = entry.split(".")
    study = load_study(changed((entry, {"eps": eps}), ("attacks.fmn", None), ("verifiers.ibp", None)))
    assert getattr(study, room)[label].eps == radii


def test_no_eps_is_nothing():
    study = load_study(changed(("attacks.pgd", None), ("verifiers.crown", None)))
    assert (study.attacks["pgd"].eps, study.verifiers["crown"].eps) == (None, None)


# An `eps` of an attack or a verifier, the end of the key that the line has to name, and what it has to say.
BAD_RADII = {
    "zero": (0, "eps.0: 0 is", "greater than 0"),
    "below": (-0.1, "eps.0: -0.1 is", "greater than 0"),
    "zero in a list": ([0.1, 0], "eps.1: 0 is", "greater than 0"),
    "below in a list": ([-1, 0.1], "eps.0: -1 is", "greater than 0"),
    "twice": ([0.1, 0.2, 0.10], "eps: 0.1 appears 2 times", "must be there once"),
    "twice, once as a whole number": ([0.1, 1, 1.0], "eps: 1 appears 2 times", "must be there once"),
    "yes": (True, "eps.0: the truth value true is", "must be a number above 0"),
    "none": ([], "eps: [] is empty", "at least one"),
    "text": ("8", "eps: 8 is", "must be below 1; did you mean 8/255?"),
    "text in a list": ([0.1, "big"], "eps.1: 'big' is", "must be a number above 0"),
    "null in a list": ([0.1, None], "eps.1: None is", "must be a number above 0"),
    "a list in a list": ([[0.1]], "eps.0: [0.1] is", "must be a number above 0"),
    "a mapping": ({"from": 0.1}, "eps.0: {'from': 0.1} is", "must be a number above 0"),
    "nan": (math.nan, "eps.0: nan is", "finite"),
    "infinite": ([0.1, math.inf], "eps.1: inf is", "finite"),
}


@pytest.mark.parametrize("entry", ["attacks.pgd", "verifiers.cascade"])
@pytest.mark.parametrize(("eps", "start", "words"), BAD_RADII.values(), ids=BAD_RADII)
def test_a_bad_eps_is_one_line_with_its_key(entry, eps, start, words):
    (line,) = complaints(changed((f"{entry}.eps", eps)))
    assert line.startswith(f"config.yaml: {entry}.{start}")
    assert words in line


def test_a_sweep_of_an_attack_that_finds_distances_is_refused():
    assert complaints(changed(("attacks.near", {"kind": "fmn", "eps": [0.05, 0.1]}))) == [
        "config.yaml: attacks.near.eps: fmn finds distances by itself; give one radius"
    ]


@pytest.mark.parametrize("eps", [0.1, 0.3, [0.3]])
def test_one_radius_of_an_attack_that_finds_distances_is_fine(eps):
    assert load_study(changed(("attacks.fmn", {"eps": eps}))).attacks["fmn"].eps in ([0.1], [0.3])


def test_a_study_needs_an_attack_at_its_own_radius():
    config = changed(("attacks", {"pgd": {"eps": [0.05, 0.2]}, "fgsm": {"eps": 0.3}}), ("verifiers", {"ibp": None}))
    assert complaints(config) == [
        "config.yaml: attacks: eps 0.05, 0.2, 0.3, but none at threat.eps, 0.1; valid: one that has it"
    ]


@pytest.mark.parametrize(
    "attacks",
    [
        {"pgd": {"eps": [0.05, 0.1]}},
        {"pgd": {"eps": 0.05}, "fgsm": None},
        # A distance says it for the study's radius, too.
        {"pgd": {"eps": 0.05}, "fmn": None},
        {"fmn": {"eps": 0.3}},
    ],
)
def test_one_attack_at_the_studys_radius_or_of_any_is_enough(attacks):
    assert set(load_study(changed(("attacks", attacks), ("verifiers", {"ibp": None}))).attacks) == set(attacks)


def test_a_study_needs_a_verifier_at_its_own_radius():
    config = changed(("verifiers", {"ibp": {"eps": 0.05}, "crown": {"eps": [0.2, 0.3]}}))
    assert complaints(config) == [
        "config.yaml: verifiers: eps 0.05, 0.2, 0.3, but none at threat.eps, 0.1; valid: one that has it"
    ]


def test_a_verifier_of_a_smoothed_classifier_does_not_stand_in_for_one_of_the_network():
    config = changed(("verifiers", {"smoothing": None, "crown": {"eps": 0.05}}))
    assert complaints(config) == ["config.yaml: verifiers: eps 0.05, but none at threat.eps, 0.1; valid: one that has it"]


@pytest.mark.parametrize("eps", [None, 0.05])
def test_a_study_of_smoothed_classifiers_alone_needs_no_other_verifier(eps):
    assert load_study(changed(("verifiers", {"smoothing": {"eps": eps}})))


def test_one_verifier_at_the_studys_radius_is_enough():
    assert load_study(changed(("verifiers", {"ibp": {"eps": 0.05}, "crown": {"eps": [0.2, 0.1]}})))


def test_a_sweep_that_leaves_out_a_new_radius_of_the_study_is_refused():
    sweep = ("verifiers", {"crown": {"eps": [0.05, 0.1]}})
    assert complaints(changed(sweep, ("threat.eps", 0.2))) == [
        "config.yaml: verifiers: eps 0.05, 0.1, but none at threat.eps, 0.2; valid: one that has it"
    ]


def cascade(attacks, looked_at, eps=None):
    """A study of these attacks, and a cascade that looks at some of them at the radii `eps`; IBP has the study's."""
    verifiers = {"ibp": None, "mine": {"kind": "cascade", "attacks": looked_at, "eps": eps}}
    return changed(("attacks", {"fgsm": None, **attacks}), ("verifiers", verifiers))


@pytest.mark.parametrize(
    ("attacks", "looked_at", "eps"),
    [
        ({"pgd": None}, [], [0.3]),
        ({"pgd": None}, ["pgd"], None),
        ({"pgd": None}, ["pgd", "fgsm"], 0.1),
        ({"pgd": {"eps": [0.1, 0.05]}}, ["pgd"], [0.05, 0.1]),
        ({"pgd": {"eps": [0.1, 0.05, 0.2]}}, ["pgd"], 0.05),
        ({"fmn": None}, ["fmn"], [0.05, 0.2]),
        ({"fmn": {"eps": 0.01}}, ["fmn"], [0.05, 0.2]),
        ({"fmn": None, "pgd": {"eps": 0.2}}, ["fmn", "pgd"], 0.2),
    ],
)
def test_a_cascade_may_look_at_what_its_attacks_have_found(attacks, looked_at, eps):
    assert load_study(cascade(attacks, looked_at, eps)).verifiers["mine"].attacks == looked_at


@pytest.mark.parametrize(
    ("attacks", "looked_at", "eps", "message"),
    [
        ({"pgd": None}, ["pdg"], None, "unknown attack 'pdg'; valid: fgsm, pgd"),
        # The label counts, and autoattack is a kind that this study has not.
        ({"near": {"kind": "fmn"}}, ["fmn"], None, "unknown attack 'fmn'; valid: fgsm, near"),
        ({"pgd": None}, ["pgd"], 0.05, "pgd does not attack at eps 0.05, which mine verifies"),
        ({"pgd": {"eps": 0.05}}, ["pgd"], None, "pgd does not attack at eps 0.1, which mine verifies"),
        (
            {"pgd": {"eps": [0.1, 0.2]}},
            ["pgd"],
            [0.3, 0.1, 0.05],
            "pgd does not attack at eps 0.05, 0.3, which mine verifies",
        ),
        ({"fmn": None, "pgd": None}, ["fmn", "pgd"], [0.1, 0.2], "pgd does not attack at eps 0.2, which mine verifies"),
    ],
)
def test_a_cascade_that_looks_for_what_no_attack_finds_is_refused(attacks, looked_at, eps, message):
    assert complaints(cascade(attacks, looked_at, eps)) == [f"config.yaml: verifiers.mine.attacks: {message}"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("attacks", ["fmn", "fmn"], "fmn appears 2 times"),
        ("attacks", "fmn", "valid list"),
        ("bounds", [], "at least one"),
        ("bounds", ["ibp", "ibp"], "ibp appears 2 times"),
        ("bounds.1", ["ibp", "smoothing"], "'ibp', 'crown-ibp', 'crown', 'alpha-crown' or 'branch-and-bound'"),
    ],
)
def test_a_bad_list_of_a_cascade_is_one_line(key, value, words):
    (line,) = complaints(changed((f"verifiers.cascade.{key.split('.')[0]}", value)))
    assert line.startswith(f"config.yaml: verifiers.cascade.{key}: ")
    assert words in line


def test_examples_are_kept_if_told():
    study = load_study(changed(("attacks.pgd.keep_examples", True)))
    assert [study.attacks[label].keep_examples for label in ("pgd", "fmn")] == [True, False]


def test_an_analysis_is_made_if_told():
    assert load_study({key: value for key, value in default().items() if key != "analyses"}).analyses == {}
    assert load_study(changed(("analyses", {}))).analyses == {}
    told = load_study(changed(("analyses", {"stability": None, "few": {"kind": "stability", "samples": 40}}))).analyses
    assert {label: (entry.kind, entry.samples, entry.batch_size) for label, entry in told.items()} == {
        "stability": ("stability", None, 128),
        "few": ("stability", 40, 128),
    }


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        (True, "analyses", "mapping of keys to values"),
        ([], "analyses", "mapping of keys to values"),
        (
            {"stable": None},
            "analyses.stable",
            "unknown analysis 'stable', did you mean 'stability'?; valid: ",
        ),
        ({"stability": {"samples": 0}}, "analyses.stability.samples", "greater than or equal to 1"),
        ({"stability": {"samples": 1.5}}, "analyses.stability.samples", "integer"),
        ({"stability": {"batch_size": 0}}, "analyses.stability.batch_size", "greater than or equal to 1"),
        ({"stability": {"batch_size": None}}, "analyses.stability.batch_size", "integer"),
        ({"stability": {"sample": 3}}, "analyses.stability.sample", "unknown key 'sample' (value 3), did you mean 'samples'?"),
        ({"stability": {"eps": 0.1}}, "analyses.stability.eps", "valid keys: batch_size, kind, samples"),
        ({"summary": {"kind": "stability"}}, "analyses.summary", "the name of a table or figure of every study"),
        ({"accuracy": {"kind": "stability"}}, "analyses.accuracy", "the name of a table or figure of every study"),
    ],
)
def test_a_bad_analysis_is_one_line(value, key, words):
    (line,) = complaints(changed(("analyses", value)))
    assert line.startswith(f"config.yaml: {key}: ")
    assert words in line


SEEDS, SMOOTHED = ("seeds", [0, 1, 2]), ("verifiers.smoothing", {"n": 100})


@pytest.mark.parametrize(
    ("kind", "changes", "line"),
    [
        ("exemplars", [("seeds", [0, 7])], "seeds: [0, 7], and analyses.mine needs 3 or more; add some, or leave it out"),
        ("classes", [("seeds", [4])], "seeds: [4], and analyses.mine needs 3 or more; add some, or leave it out"),
        *(
            (
                kind,
                [SEEDS, ("evaluate", ["finetuned"])],
                "analyses.mine: compares networks with their dense one, which evaluate leaves out; add 'dense'",
            )
            for kind in ("exemplars", "classes", "similarity")
        ),
        (
            "exemplars",
            [SEEDS, ("evaluate", ["dense"])],
            "analyses.mine: compares networks with their dense one, and evaluate names none that are pruned; leave it out",
        ),
        ("certified-radius", [], "analyses.mine: reads verifiers of smoothed classifiers; valid: with smoothing"),
    ],
)
def test_an_analysis_without_what_it_cannot_do_without_is_one_line(kind, changes, line):
    assert complaints(changed(*changes, ("analyses", {"mine": {"kind": kind}}))) == [f"config.yaml: {line}"]


def test_an_analysis_with_all_that_it_needs_is_taken():
    kinds = ["exemplars", "classes", "similarity", "certified-radius"]
    study = load_study(changed(SEEDS, SMOOTHED, ("analyses", dict.fromkeys(kinds))))
    assert list(study.analyses) == kinds
    # Representations of one seed can be compared with their dense parent's.
    assert load_study(changed(("seeds", [3]), ("analyses", {"similarity": None}))).seeds == [3]


@pytest.mark.parametrize("label", ["benign", "era", "vra", "preserved", "data"])
def test_the_summary_of_an_analysis_takes_no_column_of_every_study(label, monkeypatch):
    study = changed(("analyses", {label: {"kind": "stability"}}))
    assert list(load_study(study).analyses) == [label]  # Without a summary it has no columns there.
    monkeypatch.setattr(catalogue.load("analyses", "stability"), "summary", print, raising=False)
    (line,) = complaints(study)
    words = f"columns of every study's summary.csv begin with {label}_; choose another label"
    assert line == f"config.yaml: analyses.{label}: {words}"


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("stability", {"samples": 40}, "{stability: {samples: 40}}"),
        ("latency", {}, "{latency: }"),
        ("latency", None, "{latency: }"),
        ("stability", True, "{stability: }"),
        ("stability", ["torch"], "{stability: }"),
        ("latency", {"runtimes": ["torch"]}, "{latency: {runtimes: [torch]}}"),
    ],
)
def test_an_analysis_that_is_no_longer_a_section_of_its_own_says_where_it_belongs(key, value, place):
    (line,) = complaints(changed((key, value)))
    assert line == f"config.yaml: {key}: is an analysis now; write it below that key: analyses: {place}"


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


SEED = "digits/cnn-small/benign/seed0"
BAD_IMPORTS = {
    "no checkpoint": ("dense", {}, "imports: 'dense' names no checkpoint; valid: DATASET/MODEL"),
    "a ratio of one digit": (f"{SEED}/lwm-0.9/pruned", {}, "would lie at 'digits/cnn-small/benign/seed0/lwm-0.90/pruned'"),
    "another objective": ("digits/cnn-small/bening/seed0/dense", {}, "objectives has no 'bening'; valid: benign, adversarial"),
    "another model": ("digits/resnet18/benign/seed0/dense", {}, "models has no 'resnet18'; valid: cnn-small"),
    "another data set": ("mnist/cnn-small/benign/seed0/dense", {}, "datasets has no 'mnist'; valid: digits"),
    "another seed": ("digits/cnn-small/benign/seed7/dense", {}, "seeds has no 7; valid: 0"),
    "a ratio of zero": (f"{SEED}/lwm-0.00/pruned", {}, "the ratio is 0, must lie between 0 and 1"),
    "a method called dense": (f"{SEED}/dense-0.90/pruned", {}, "'dense' names the network before pruning"),
    "a misspelt key": (f"{SEED}/dense", {"fiel": "x"}, "unknown key 'fiel' (value 'x'), did you mean 'file'?"),
    "no file": (f"{SEED}/dense", {"file": ""}, "is not valid"),
    "an unknown map": (f"{SEED}/dense", {"map": "hidra"}, "key map 'hidra' is not known; valid: ours, alpha-beta-crown"),
    "a map of other models": (f"{SEED}/dense", {"map": "ctrain"}, "does not say what a cnn-small is called there; valid: cnn7"),
}


@pytest.mark.parametrize(("path", "entry", "words"), BAD_IMPORTS.values(), ids=BAD_IMPORTS)
def test_a_bad_import_is_one_line(path, entry, words):
    (line,) = complaints(changed() | {"imports": {path: {"file": "theirs.pt"} | entry}})
    assert line.startswith("config.yaml: imports")
    assert words in line


def test_an_import_that_nothing_evaluates_is_one_line():
    entries = {f"{SEED}/lwm-0.90/finetuned": {"file": "theirs.pt"}}
    (line,) = complaints(changed() | {"imports": entries, "evaluate": ["dense", "pruned"]})
    assert line.endswith("nothing evaluates it; add 'finetuned' to evaluate")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "attacks.pgd.objectives",
            ["benin"],
            "attacks.pgd.objectives: unknown objective 'benin'; valid: benign, adversarial, c",
        ),
        ("verifiers.cascade.objectives", ["x"], "verifiers.cascade.objectives: unknown objective 'x'; valid: benign, adversar"),
        ("objectives.benign.models", ["cnn"], "objectives.benign.models: unknown model 'cnn'; valid: cnn-small"),
        (
            "attacks.fmn.objectives",
            ["benign"],
            "verifiers.cascade.attacks: unknown attack 'fmn' for networks trained on adversarial",
        ),
    ],
)
def test_what_an_entry_says_of_others_has_to_fit(key, value, said):
    (line,) = complaints(changed((key, value)))
    assert line.startswith(f"config.yaml: {said}")


def test_every_attack_knows_the_norm_of_an_objectives_own_threat():
    l2 = ("objectives.benign.threat", {"norm": "l2", "eps": 1})
    (line,) = complaints(changed(("attacks.fgsm", None), l2))
    assert line == "config.yaml: attacks.fgsm: objectives.benign.threat.norm is 'l2', fgsm knows only linf"
    load_study(changed(("attacks.fgsm", {"objectives": ["adversarial"]}), l2))


def test_every_model_is_trained():
    only = [(f"objectives.{label}.models", ["cnn-small"]) for label in ("benign", "adversarial", "crown-ibp")]
    (line,) = complaints(changed(("models.cnn-large", None), *only))
    assert line == "config.yaml: models.cnn-large: no objective trains it; add it to one's `models`"


def test_radii_have_to_fit_the_objectives_own_threat():
    (line,) = complaints(changed(("objectives.crown-ibp.threat", {"eps": 0.02}), ("verifiers.cascade.eps", 0.1)))
    assert line == "config.yaml: verifiers: eps 0.1, but none at objectives.crown-ibp.threat.eps, 0.02; valid: one that has it"


def test_some_attack_counts_for_era():
    entries = [(f"attacks.{label}.in_era", False) for label in ("pgd", "autoattack", "fmn")]
    (line,) = complaints(changed(*entries))
    assert line == "config.yaml: attacks: in_era is false for pgd, autoattack, fmn; valid: an attack that counts for era"
    load_study(changed(*entries[1:]))


def test_a_search_for_distances_that_does_not_count_is_no_attack_at_the_threats_radius():
    (line,) = complaints(changed(("attacks.fmn.in_era", False), ("attacks.pgd.eps", 0.2), ("attacks.autoattack.eps", 0.2)))
    assert line == "config.yaml: attacks: eps 0.2, but none at threat.eps, 0.1; valid: one that has it"


def test_an_objective_that_needs_float32_says_so():
    (line,) = complaints(changed(("objectives.trades", {"training": {"prune": {"precision": "bfloat16"}}})))
    assert line.startswith("config.yaml: objectives.trades: training.prune.precision is bfloat16, but it starts 0.001 away")


def test_an_objectives_own_threat_has_the_studys_norm_unless_it_says_otherwise():
    l2 = ("threat", {"norm": "l2", "eps": 0.5})
    norms = {"crown-ibp": {"eps": 0.2}, "adversarial": {"norm": "linf", "eps": 0.1}}
    study = load_study(changed(l2, *((f"objectives.{label}.threat", threat) for label, threat in norms.items())))
    found = {label: study.threat_of(label).model_dump() for label in study.objectives}
    assert found == {
        "benign": {"norm": "l2", "eps": 0.5},
        "adversarial": {"norm": "linf", "eps": 0.1},
        "crown-ibp": {"norm": "l2", "eps": 0.2},
    }


def test_an_attack_that_needs_more_classes_names_those_that_do_not(tmp_path):
    own = {"kind": "image-folder", "folder": str(tmp_path), "size": 8, "classes": 3}
    line = "attacks.autoattack: autoattack needs 4 classes; datasets.own has 3; valid: fgsm, fmn, pgd, transfer"
    with pytest.raises(ConfigError, match=line):
        load_study(changed(("datasets", {"own": own}), ("attacks", {"autoattack": None})))
