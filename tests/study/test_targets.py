"""Which files a study has, and which of them a job reads."""

from __future__ import annotations

from typing import Any

import pytest

from sparrow.errors import SparrowError
from sparrow.files.paths import Parent, checkpoint_of, stage_of
from sparrow.study import targets
from sparrow.study.config import Study
from sparrow.study.load import load_study

PARENT = Parent("digits", "cnn-small", "benign", 0)
FOLDER = f"somewhere/{PARENT.path}"
TINY: dict[str, Any] = {
    "results": "somewhere",
    "seeds": [0],
    "threat": {"eps": 0.1},
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"benign": None},
    "methods": {"lwm": None, "harp": {"granularity": "filter"}},
    "ratios": [0.9],
    "training": {stage: {"epochs": 2, "batch_size": 256} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"pgd": {"eps": [0.05, 0.1]}, "fgsm": {"skip_verified": ["ibp"]}},
    "verifiers": {"cascade": {"bounds": ["ibp"], "attacks": ["pgd"], "eps": [0.05, 0.1]}, "ibp": None},
}


def study(**changes: Any) -> Study:
    return load_study(TINY | changes)


def test_networks_are_what_is_evaluated() -> None:
    assert targets.networks(study()) == [
        f"{FOLDER}/{name}.safetensors" for name in ("dense", "lwm-0.90/finetuned", "harp-0.90/finetuned")
    ]


def test_every_network_has_every_table() -> None:
    tables = ("attacks/pgd-eps0.05", "attacks/pgd", "attacks/fgsm", "verifiers/cascade-eps0.05", "verifiers/cascade")
    assert targets.outcome_tables(study()) == [
        f"{FOLDER}/{network}/{table}.csv"
        for network in ("dense", "lwm-0.90/finetuned", "harp-0.90/finetuned")
        for table in (*tables, "verifiers/ibp")
    ]


def test_a_verifier_looks_at_examples_of_its_own_radius() -> None:
    found = targets.examples(study(), PARENT, "lwm-0.90/finetuned", "cascade-eps0.05")
    assert found == [f"{FOLDER}/lwm-0.90/finetuned/attacks/pgd-eps0.05.examples.safetensors"]
    assert targets.examples(study(), PARENT, "dense", "ibp") == []


def test_an_attack_reads_the_proofs_that_it_trusts() -> None:
    assert targets.proofs(study(), PARENT, "dense", "fgsm") == [f"{FOLDER}/dense/verifiers/ibp.csv"]
    assert targets.proofs(study(), PARENT, "dense", "pgd") == []


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(SparrowError, match="networks trained on benign have no fmn; valid: pgd-eps"):
        targets.proofs(study(), PARENT, "dense", "fmn")


def test_whatever_is_made_has_a_cost_of_a_known_stage() -> None:
    costs = targets.costs(study())
    made = [*targets.networks(study()), *targets.outcome_tables(study())]
    assert {targets.cost_beside(file) for file in made} < set(costs)
    jobs = [path.removeprefix("somewhere/").removesuffix(".cost.json") for path in costs]
    assert {stage_of(job) for job in jobs} == {
        "data",
        "initial",
        "pretrain",
        "prune",
        "finetune",
        "attack",
        "verify",
    }
    assert [job for job in jobs if checkpoint_of(job) is None] == ["digits/data"]
    assert len(set(jobs)) == len(jobs)


def test_tables_of_published_results_are_made_where_they_are_asked_for() -> None:
    assert targets.published_tables(study()) == []
    assert targets.published_tables(study(published={})) == ["somewhere/tables/published.html"]


def test_logits_are_there_where_somebody_asks_for_them() -> None:
    assert targets.outputs(study()) == targets.outputs(study(analyses={"stability": None})) == []
    asked = study(outputs={"noise": "8/255"})
    assert targets.outputs(asked) == [
        f"{FOLDER}/{name}/outputs.safetensors" for name in ("dense", "lwm-0.90/finetuned", "harp-0.90/finetuned")
    ]
    assert f"{FOLDER}/dense/outputs.cost.json" in targets.costs(asked)
    assert asked.recorded_outputs.noise == [8 / 255]


def test_noise_is_in_pixel_units() -> None:
    with pytest.raises(SparrowError, match=r"outputs.noise: 8 is not valid: images lie in .0, 1., in l-inf it must be below 1"):
        study(outputs={"noise": [0.1, 8]})
