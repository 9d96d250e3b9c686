"""A study with variants: what it makes, what its jobs read, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparrow.errors import ConfigError
from sparrow.estimate.work import works
from sparrow.files.paths import (
    Cell,
    Checkpoint,
    Parent,
    checkpoint_at,
    checkpoint_of,
    data_file,
    identity_at,
    parent_file,
    parse,
    stage_of,
)
from sparrow.study import cells, expected, figures, job_specs, targets
from sparrow.study.analyses import jobs
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.default_study import default_study

CONFIG = default_study()
PARENT = Parent("digits", "cnn-small", "benign", 0)
CELL = Cell(PARENT, "lwm", 0.9)
ROUNDED, DENSE = Checkpoint(PARENT, CELL, "finetuned+int8"), Checkpoint(PARENT, None, "dense+int8")
EVALUATE = ["dense", "dense+int8", "finetuned", "finetuned+int8"]


def rounding(evaluate: list[str] = EVALUATE, config: dict[str, Any] | None = None, **settings: Any) -> Study:
    return load_study(CONFIG | {"evaluate": evaluate, "variants": {"int8": settings}} | (config or {}))


def complaints(**sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_study(CONFIG | sections)
    return str(caught.value).splitlines()


def test_a_study_without_variants_makes_nothing_of_them() -> None:
    plain = load_study(CONFIG)
    assert not [one for one in cells.checkpoints(plain) if "+" in one.stage]
    assert expected.expected(plain).families["digits/cnn-small/benign"].variants == {}
    assert "bytes" not in figures.drawn(plain)
    assert job_specs.finetune_spec(plain, CELL) == job_specs.finetune_spec(rounding(), CELL)


def test_every_network_that_evaluate_says_so_of_is_rounded() -> None:
    study = rounding()
    made = list(cells.made(study))
    for stage in ("dense", "finetuned"):
        rounded = [one._replace(stage=stage) for one in made if one.stage == f"{stage}+int8"]
        assert rounded == [one for one in made if one.stage == stage] != []
    assert not [one for one in made if one.stage == "pruned+int8"]
    assert cells.parent_of(study, ROUNDED) == Checkpoint(PARENT, CELL, "finetuned")
    assert cells.parent_of(study, DENSE) == Checkpoint(PARENT, None, "dense")
    for one in (ROUNDED, DENSE):
        assert f"results/{one.path}.safetensors" in targets.networks(study)
        assert f"results/{one.path}.cost.json" in targets.costs(study)
        assert f"results/{one.path}/attacks/pgd.csv" in targets.outcome_tables(study)
    assert "results/figures/digits.cnn-small.bytes.svg" in figures.files(study)
    assert figures.spec(study, "digits", "cnn-small", "bytes").stage == "finetuned"


@pytest.mark.parametrize("one", [ROUNDED, DENSE, ROUNDED._replace(stage="grafted+int-4")], ids=lambda one: one.stage)
def test_its_place_is_known(one: Checkpoint) -> None:
    path = Path("results", f"{one.path}.safetensors")
    assert parse(one.path) == checkpoint_at(path) == checkpoint_of(f"{one.path}/attacks/pgd") == one
    assert stage_of(one.path) == "quantise"
    assert stage_of(f"{one.path}/attacks/pgd") == "attack"
    assert parent_file(path, one.stage) == path.with_name(f"{one.stage.split('+')[0]}.safetensors")
    assert data_file(path, one.stage) == Path("results/digits/data.safetensors")
    assert identity_at("network", Path("results", one.path)) == one.identity()


def test_an_initial_network_has_no_variant() -> None:
    with pytest.raises(ValueError, match="names no checkpoint"):
        parse(f"{PARENT.path}/initial+int8")


def test_what_is_only_rounded_reads_no_objective_and_no_schedule() -> None:
    spec = job_specs.checkpoint_spec(rounding(bits=3), ROUNDED)
    assert set(spec.model_dump()) == {"code", "cell", "model", "stage", "bits"}
    assert spec.config() == {"bits": 3}
    assert (spec.stage, spec.cell.method) == ("finetuned+int8", "lwm")


def test_what_trains_under_rounding_does_so_as_it_is_fine_tuned_without_ramp_and_cycles() -> None:
    config = {"training": CONFIG["training"] | {"finetune": {"epochs": 8, "lr": 0.02, "ramp_epochs": 3, "cycles": 2}}}
    spec = job_specs.quantise_spec(rounding(epochs=3, config=config), ROUNDED)
    assert spec.schedule is not None
    assert (spec.schedule.epochs, spec.schedule.lr, spec.schedule.ramp_epochs, spec.schedule.cycles) == (3, 0.02, 0, 1)
    assert spec.objective == {"kind": "benign"}
    own = job_specs.quantise_spec(rounding(epochs=3, lr=0.5, config=config), ROUNDED)
    assert own.schedule == spec.schedule.model_copy(update={"lr": 0.5})


def test_aggregation_knows_how_each_was_made() -> None:
    found = expected.expected(rounding(bits=3))
    variants = found.families["digits/cnn-small/benign"].variants
    assert {"dense+int8", "lwm-0.90/finetuned+int8"} <= variants.keys()
    assert found.values[variants["dense+int8"]["bits"]] == 3


def test_it_lost_what_the_network_has_lost_that_it_comes_from() -> None:
    config = {"methods": {"lwm": {"granularity": "filter"}}, "ratios": [0.5]}
    assert {one.stage for one in cells.without_filters(rounding(config=config))} == {"finetuned", "finetuned+int8"}
    imported = {f"{CELL.path}/finetuned": {"file": "theirs.pth", "granularity": "filter"}}
    assert {one.stage for one in cells.without_filters(rounding(config={"methods": {}, "imports": imported}))} == {
        *("finetuned", "finetuned+int8")
    }


def test_analyses_have_pruned_variants_beside_pruned_networks() -> None:
    study = rounding(config={"analyses": {"stability": None, "latency": None}})
    of_networks, of_families = ([one for job in jobs(study, label) for one in job.networks] for label in study.analyses)
    assert {one.stage for one in of_networks} == set(EVALUATE)
    assert {one.stage for one in of_families} == {"finetuned", "finetuned+int8"}


def test_the_work_is_its_epochs() -> None:
    def found(**settings: Any) -> list[tuple[int, int]]:
        return [(work.steps, len(work.jobs)) for work in works(rounding(**settings)) if work.stage == "quantise"]

    objectives, cells_of_each = len(CONFIG["objectives"]), len(CONFIG["methods"]) * len(CONFIG["ratios"])
    assert found() == [(0, 1 + cells_of_each)] * objectives
    # Digits has 1167 training images: 19 batches of 64.
    assert {steps for steps, _ in found(epochs=4)} == {4 * 19}


def test_mixed_precision_reads_what_chooses_the_bits_and_no_number_of_them() -> None:
    study = rounding(mixed_precision={"average_bits": 3})
    spec = job_specs.quantise_spec(study, ROUNDED)
    assert set(spec.model_dump()) == {"code", "cell", "model", "stage", "mixed_precision"}
    assert spec.model_dump()["mixed_precision"]["candidates"] == [2, 3, 4, 6, 8]
    assert job_specs.quantise_spec(rounding(mixed_precision={"average_bits": 3}, epochs=1), ROUNDED).schedule is not None
    # The verifier that chooses is part of the code.
    assert spec.code != job_specs.quantise_spec(rounding(), ROUNDED).code
    assert {work.unknown for work in works(study) if work.stage == "quantise"} == {True}
    found = expected.expected(study)
    made = found.families["digits/cnn-small/benign"].variants["dense+int8"]
    assert "bits" not in made
    assert found.values[made["mixed_precision"]]["average_bits"] == 3


def mixed(**settings: Any) -> dict[str, Any]:
    return {"variants": {"int8": {"mixed_precision": {"average_bits": 4} | settings}}, "evaluate": EVALUATE}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (mixed(average_bits=1), ["variants.int8.mixed_precision: average_bits is 1,", "valid: 2 or more, below 8"]),
        (mixed(average_bits=8), ["average_bits is 8,", "valid: 2 or more, below 8"]),
        (mixed(candidates=[4, 8], average_bits=3.5), ["average_bits is 3.5,", "valid: 4 or more, below 8"]),
        (mixed(candidates=[8]), ["variants.int8.mixed_precision.candidates", "[8]"]),
        (mixed(candidates=[2, 1]), ["variants.int8.mixed_precision.candidates.1: 1", "greater than or equal to 2"]),
        (mixed(candidates=[2, 8, 8]), ["variants.int8.mixed_precision.candidates", "8 appears 2 times"]),
        (mixed(candidate=[2, 8]), ["variants.int8.mixed_precision.candidate: unknown key", "'candidates'"]),
        (
            {"variants": {"int8": {"mixed_precision": {}}}, "evaluate": EVALUATE},
            ["variants.int8.mixed_precision.average_bits: missing"],
        ),
        (
            {"variants": {"int8": {"bits": 4, "mixed_precision": {"average_bits": 4}}}, "evaluate": EVALUATE},
            ["variants.int8: bits is 4 beside mixed_precision", "valid: one of both"],
        ),
        ({"variants": {"int8": {"bits": 1}}, "evaluate": EVALUATE}, ["variants.int8.bits: 1", "greater than or equal to 2"]),
        ({"variants": {"int8": {"bits": 17}}, "evaluate": EVALUATE}, ["variants.int8.bits: 17", "less than or equal to 16"]),
        ({"variants": {"int8": {"kind": "round"}}, "evaluate": EVALUATE}, ["variants.int8.kind: 'round'", "'quantise'"]),
        ({"variants": {"int8": {"bit": 8}}, "evaluate": EVALUATE}, ["variants.int8.bit: unknown key", "'bits'"]),
        ({"variants": {"Int 8": {}}, "evaluate": EVALUATE}, ["variants.Int 8", "small letters"]),
        ({"variants": {"int8": {"epochs": -1}}, "evaluate": EVALUATE}, ["variants.int8.epochs: -1"]),
        ({"variants": {"int8": {"lr": 0.1}}, "evaluate": EVALUATE}, ["variants.int8: lr is 0.1", "epochs of 1 or more"]),
        ({"variants": {"int8": {}}}, ["variants.int8: nothing evaluates it", "'finetuned+int8' to evaluate"]),
        (
            {"variants": {"int4": {}}, "evaluate": ["dense", "dense+int4", "dense+int8"]},
            ["evaluate: 'dense+int8'", "no 'int8'; valid: int4"],
        ),
        (
            {"evaluate": ["dense", "dense+int8"]},
            ["evaluate: 'dense+int8'", "add `variants: {int8: {kind: quantise, bits: 8}}`"],
        ),
        ({"variants": {"int8": {}}, "evaluate": ["dense", "finetuned+int8"]}, ["'finetuned+int8' without 'finetuned'"]),
        ({"evaluate": ["dense", "finetund+int8"]}, ["evaluate.1: 'finetund+int8'", "such as 'finetuned+int8'"]),
        ({"evaluate": ["dense", "dense+"]}, ["evaluate.1: 'dense+'"]),
        (
            {"variants": {"int8": {}}, "evaluate": EVALUATE, "imports": {ROUNDED.path: {"file": "theirs.pth"}}},
            [f"imports.{ROUNDED.path}", "nothing is imported as a variant"],
        ),
        (
            {"variants": {"int8": {}}, "evaluate": ["dense", "dense+int8"], "analyses": {"latency": None}},
            ["analyses.latency", "evaluate names none that are pruned"],
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(sections: dict[str, Any], said: list[str]) -> None:
    lines = [line for line in complaints(**sections) if all(part in line for part in said)]
    assert len(lines) == 1


def test_dense_networks_alone_can_be_rounded() -> None:
    study = load_study(CONFIG | {"evaluate": ["dense", "dense+int8"], "variants": {"int8": {}}, "methods": {}})
    assert {one.stage for one in cells.evaluated(study)} == {"dense", "dense+int8"}
    assert "bytes" in figures.drawn(study)


def test_a_pattern_is_held_against_no_ratio_where_nothing_is_pruned() -> None:
    config = CONFIG | {"variants": {"int8": {}}, "methods": {"lwm": {"granularity": "2:4"}}, "ratios": [0.9]}
    with pytest.raises(ConfigError, match="ratios"):
        load_study(config | {"evaluate": ["dense", "finetuned", "dense+int8"]})
    load_study(config | {"evaluate": ["dense", "dense+int8"]})
