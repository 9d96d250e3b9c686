"""What a study adds to its objectives: what says so, what is refused, and which jobs read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparrow.errors import ConfigError
from sparrow.files.paths import Cell, Checkpoint, Parent
from sparrow.study import cells, job_specs, targets
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
PARENT = Parent("digits", "cnn-small", "adversarial", 0)
CELL = Cell(PARENT, "hydra", 0.9)
DEFAULTS = {"teacher": "dense", "alpha": 1.0, "temperature": 30.0}


def raw(objective: dict[str, Any] | None = None, finetune: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """The default study; with options of its objective `adversarial`, and of fine-tuning."""
    found = default_study() | sections
    found["objectives"]["adversarial"] |= objective or {}
    found["training"]["finetune"] |= finetune or {}
    return found


def complaints(found: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_study(found)
    return str(caught.value).splitlines()


def specs(study: Study) -> dict[str, dict[str, Any]]:
    made = {
        "pretrain": job_specs.pretrain_spec(study, PARENT),
        "prune": job_specs.prune_spec(study, CELL),
        "prune lwm": job_specs.prune_spec(study, CELL._replace(method="lwm")),
        "finetune": job_specs.finetune_spec(study, CELL),
    }
    return {name: spec.model_dump() for name, spec in made.items()}


def changed(study: Study) -> dict[str, set[str]]:
    """The keys in which the specs of a study are not those of the default one; without the specs that are the same."""
    before, after = specs(load_study(raw())), specs(study)
    found = {
        name: {key for key in spec.keys() | before[name].keys() if spec.get(key) != before[name].get(key)}
        for name, spec in after.items()
    }
    return {name: keys for name, keys in found.items() if keys}


def test_where_nothing_is_added_no_spec_says_anything_of_it() -> None:
    for spec in specs(load_study(raw())).values():
        assert not {"nrs", "distillation"} & {*spec, *spec.get("objective", ()), *spec.get("schedule", ())}
    assert changed(load_study(raw({"nrs": None}, {"distillation": None}))) == {}


def test_distillation_is_read_by_fine_tuning_alone() -> None:
    study = load_study(raw(finetune={"distillation": {}}))
    assert changed(study) == {"finetune": {"code", "distillation"}}
    assert specs(study)["finetune"]["distillation"] == DEFAULTS


def test_a_penalty_is_read_wherever_the_objective_trains() -> None:
    study = load_study(raw({"nrs": {"gamma_power": 1}}))
    assert changed(study) == {name: {"code", "nrs"} for name in ("pretrain", "prune", "finetune")}
    assert specs(study)["prune"]["nrs"] == {"weight": 0.01, "gamma_power": 1.0}
    other = PARENT._replace(objective="crown-ibp")
    assert "nrs" not in job_specs.pretrain_spec(study, other).model_dump()


@pytest.mark.parametrize("name", ["nrs", "distillation"])
def test_what_computes_it_is_part_of_the_code_where_it_is_on(name: str) -> None:
    study = load_study(raw({"nrs": {}} if name == "nrs" else None, {"distillation": {}} if name == "distillation" else None))
    module = {"nrs": "sparrow.training.relu_stability", "distillation": "sparrow.training.distillation"}[name]
    own = "sparrow.stages.finetune", "sparrow.models.cnn_small", "sparrow.objectives.adversarial"
    assert specs(study)["finetune"]["code"] == code_digest(*own, module)


@pytest.mark.parametrize(
    ("shared", "own", "expected"),
    [
        (None, {}, None),
        (None, {"distillation": {"alpha": 0.5}}, DEFAULTS | {"alpha": 0.5}),
        ({"temperature": 4}, {}, DEFAULTS | {"temperature": 4.0}),
        ({"temperature": 4}, {"lr": 0.01}, DEFAULTS | {"temperature": 4.0}),
        ({"temperature": 4}, {"distillation": {"alpha": 0.5}}, DEFAULTS | {"alpha": 0.5, "temperature": 4.0}),
        ({"temperature": 4}, {"distillation": None}, None),
    ],
)
def test_an_objective_may_change_what_all_have(shared: dict | None, own: dict, expected: dict | None) -> None:
    study = load_study(raw({"training": {"finetune": own}}, {"distillation": shared}))
    found = study.distillation("adversarial")
    assert (found.model_dump() if found else None) == expected
    others = study.distillation("benign")
    assert (others.model_dump() if others else None) == (DEFAULTS | shared if shared else None)
    assert study.schedule("adversarial", "finetune").lr == own.get("lr", 0.1)


@pytest.mark.parametrize("stage", ["pretrain", "prune"])
@pytest.mark.parametrize("patch", [False, True])
def test_no_other_stage_has_a_teacher(stage: str, patch: bool) -> None:
    found = raw({"training": {stage: {"distillation": {}}}} if patch else None)
    if not patch:
        found["training"][stage]["distillation"] = {}
    (line,) = complaints(found)
    key = f"objectives.adversarial.training.{stage}" if patch else f"training.{stage}"
    assert line.startswith(f"config.yaml: {key}.distillation: unknown key 'distillation' (value {{}})")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"teacher": "wide"}, "teacher: 'wide' is not valid: must be 'dense'"),
        ({"alpha": 1.5}, "alpha: 1.5 is not valid: must be less than or equal to 1"),
        ({"temperature": 0}, "temperature: 0 is not valid: must be greater than 0"),
        ({"temp": 3}, "temp: unknown key 'temp' (value 3); valid keys: alpha, teacher, temperature"),
    ],
)
def test_a_wrong_setting_is_one_line(values: dict, line: str) -> None:
    (found,) = complaints(raw(finetune={"distillation": values}))
    assert found.startswith(f"config.yaml: training.finetune.distillation.{line}")


@pytest.mark.parametrize("objective", ["benign", "smoothing"])
def test_an_objective_without_a_radius_has_no_penalty(objective: str) -> None:
    found = raw()
    found["objectives"] |= {objective: {"nrs": {}}}
    (line,) = complaints(found)
    assert line == (
        f"config.yaml: objectives.{objective}.nrs: {objective} trains against no radius, at which bounds could be; valid: null"
    )


def test_a_penalty_is_over_boxes() -> None:
    found = raw({"nrs": {}, "threat": {"norm": "l2", "eps": 0.5}})
    (line,) = complaints(found)
    assert line.startswith("config.yaml: objectives.adversarial.nrs: its bounds are over boxes, and the norm")


def test_a_weight_of_nothing_is_refused() -> None:
    (line,) = complaints(raw({"nrs": {"weight": 0}}))
    assert line == "config.yaml: objectives.adversarial.nrs.weight: 0 is not valid: must be greater than 0"


def test_the_teacher_is_the_dense_network_of_the_same_family() -> None:
    study = load_study(raw({"training": {"finetune": {"distillation": {}}}}))
    assert targets.teachers(study, CELL) == ["results/digits/cnn-small/adversarial/seed0/dense.safetensors"]
    assert targets.teachers(study, CELL._replace(parent=PARENT._replace(objective="benign"))) == []


@pytest.mark.parametrize("taught", [True, False])
def test_a_teacher_is_trained_where_an_import_leaves_none(taught: bool) -> None:
    path = "digits/cnn-small/adversarial/seed0/theirs-0.90/pruned"
    sections = {"imports": {path: {"file": "theirs.pt"}}, "evaluate": ["finetuned"], "methods": {}}
    study = load_study(raw(None, {"distillation": {}} if taught else None, **sections))
    made = {one.path for one in cells.made(study)}
    dense = Checkpoint(PARENT, None, "dense").path
    assert (dense in made, Checkpoint(PARENT, None, "initial").path in made) == (taught, taught)
    assert Checkpoint(PARENT, Cell(PARENT, "theirs", 0.9), "finetuned").path in made
