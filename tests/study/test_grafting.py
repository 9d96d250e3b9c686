"""A study that grafts: what it makes, what its jobs read, and what of its section is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparrow.errors import ConfigError
from sparrow.estimate.work import works
from sparrow.files.paths import Cell, Checkpoint, Parent, checkpoint_at, parent_file, parse, stage_of
from sparrow.settings import Threat
from sparrow.study import cells, expected, figures, job_specs, targets
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.default_study import default_study

CONFIG = default_study()
CELL = Cell(Parent("digits", "cnn-small", "benign", 0), "lwm", 0.9)
GRAFTED = Checkpoint(CELL.parent, CELL, "grafted")


def grafting(evaluate: tuple[str, ...] = ("dense", "finetuned", "grafted"), **settings: Any) -> Study:
    return load_study(CONFIG | {"evaluate": list(evaluate), "grafting": settings})


def complaints(**sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_study(CONFIG | sections)
    return str(caught.value).splitlines()


def test_a_study_without_the_section_makes_nothing_of_it() -> None:
    plain, off = load_study(CONFIG), load_study(CONFIG | {"grafting": None})
    assert plain == off
    assert [one.stage for one in cells.made(plain)].count("grafted") == 0
    assert expected.expected(plain).families["digits/cnn-small/benign"].grafted == {}
    assert job_specs.finetune_spec(plain, CELL) == job_specs.finetune_spec(grafting(), CELL)


def test_every_fine_tuned_network_is_grafted() -> None:
    study = grafting()
    made = list(cells.made(study))
    assert [one._replace(stage="finetuned") for one in made if one.stage == "grafted"] == [
        one for one in made if one.stage == "finetuned"
    ]
    assert {one.cell.method for one in made if one.cell and one.stage == "grafted"} == set(CONFIG["methods"])
    assert cells.parent_of(study, GRAFTED) == Checkpoint(CELL.parent, CELL, "finetuned")
    assert f"results/{GRAFTED.path}.safetensors" in targets.networks(study)
    assert f"results/{GRAFTED.path}.cost.json" in targets.costs(study)
    assert f"results/{GRAFTED.path}/attacks/pgd.csv" in targets.outcome_tables(study)


def test_its_place_is_known() -> None:
    path = Path("results", f"{GRAFTED.path}.safetensors")
    assert parse(GRAFTED.path) == checkpoint_at(path) == GRAFTED
    assert stage_of(GRAFTED.path) == "graft"
    assert parent_file(path, "grafted") == path.with_name("finetuned.safetensors")


def test_a_job_reads_the_section_the_objective_and_the_threat_that_its_networks_are_evaluated_against() -> None:
    spec = job_specs.graft_spec(grafting(share=0.25, epochs=3, lr=0.02, images=7), CELL)
    assert (spec.share, spec.slope, spec.intercept, spec.images, spec.lr_lines) == (0.25, 0.4, 0.0, 7, 0.01)
    assert (spec.schedule.epochs, spec.schedule.lr, spec.schedule.weight_decay) == (3, 0.02, 5e-4)
    assert (spec.objective["kind"], spec.threat, spec.bounded) == ("benign", None, Threat(eps=0.1))
    assert expected.expected(grafting()).families["digits/cnn-small/benign"].grafted.keys() >= {"lwm-0.90"}


def test_grafted_networks_lost_what_those_have_lost_that_they_come_from() -> None:
    study = load_study(
        CONFIG
        | {"methods": {"lwm": {"granularity": "filter"}}, "ratios": [0.5], "grafting": {}, "evaluate": ["finetuned", "grafted"]}
    )
    assert {one.stage for one in cells.without_filters(study)} == {"finetuned", "grafted"}


def test_figures_show_fine_tuned_networks_where_there_are_any() -> None:
    study, only = grafting(), grafting(("dense", "grafted"))
    assert figures.spec(study, "digits", "cnn-small", "accuracy").stage == "finetuned"
    assert figures.spec(only, "digits", "cnn-small", "accuracy").stage == "grafted"


def test_the_work_is_its_epochs_and_a_bound_for_each_image_by_which_neurons_are_chosen() -> None:
    (work,) = (one for one in works(grafting(epochs=10, images=200)) if one.stage == "graft" and one.objective == "benign")
    # Digits: 1797 images, of which 360 are for tests and 270, three batches, for validation; the rest is ten.
    assert work.steps == 100
    assert {unit.what: count for unit, count in work.units.items()} == {"step": 130, "bound": 200}
    assert len(work.jobs) == len(CONFIG["methods"]) * len(CONFIG["ratios"])


@pytest.mark.parametrize(
    ("sections", "start", "said"),
    [
        ({"evaluate": ["dense", "grafted"]}, "evaluate: 'grafted'", "add it (`grafting: {}`)"),
        ({"grafting": {}}, "grafting: nothing evaluates", "add 'grafted' to evaluate"),
        ({"grafting": {"share": 1.5}, "evaluate": ["grafted"]}, "grafting.share: 1.5", "less than or equal to 1"),
        ({"grafting": {"shares": 0.5}, "evaluate": ["grafted"]}, "grafting.shares", "'share'"),
        (
            {"grafting": {}, "evaluate": ["grafted"], "models": {"resnet50": None}},
            "models.resnet50: resnet50 runs a ReLU layer more than once",
            "cnn-small, ",
        ),
        (
            {"grafting": {"batch_size": 1}, "evaluate": ["grafted"], "models": {"cnn7": None}},
            "grafting.batch_size: 1, but models.cnn7",
            "2 or more",
        ),
        (
            {"grafting": {"precision": "bfloat16"}, "evaluate": ["grafted"], "objectives": {"trades": None}},
            "objectives.trades: grafting.precision",
            "valid: float32",
        ),
        (
            {
                "grafting": {},
                "evaluate": ["grafted"],
                "imports": {GRAFTED.path: {"file": "theirs.pth"}},
            },
            f"imports.{GRAFTED.path}",
            "nothing is imported as a grafted network",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else None,
)
def test_what_does_not_fit_is_one_line(sections: dict[str, Any], start: str, said: str) -> None:
    lines = [line for line in complaints(**sections) if start in line]
    assert len(lines) == 1
    assert said in lines[0]
