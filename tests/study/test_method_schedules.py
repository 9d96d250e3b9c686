"""Methods may have schedules of their own, for studies that repeat what was published."""

from __future__ import annotations

from typing import Any

import pytest

from sparrow.errors import ConfigError
from sparrow.files.paths import Cell, Parent
from sparrow.study import job_specs
from sparrow.study.config import Study
from sparrow.study.load import load_study


def study(methods: dict[str, Any], **objective: Any) -> Study:
    return load_study(
        {
            "datasets": {"digits": None},
            "models": {"cnn-small": None},
            "objectives": {"benign": objective or None},
            "methods": methods,
            "ratios": [0.9],
            "seeds": [0],
            "training": {"pretrain": {"epochs": 30}, "prune": {"epochs": 15}, "finetune": {"epochs": 20, "lr": 0.2}},
            "threat": {"norm": "linf", "eps": 0.1},
            "attacks": {"pgd": None},
            "verifiers": {"ibp": None},
        }
    )


PARENT = Parent("digits", "cnn-small", "benign", 0)


def test_a_methods_own_schedule_is_its_networks_and_nobody_elses() -> None:
    own = {"training": {"prune": {"epochs": 7}, "finetune": {"epochs": 9, "lr": 0.3}}}
    found = study({"admm": own, "hydra": None}, training={"finetune": {"epochs": 11, "momentum": 0.5}})
    admm, hydra = Cell(PARENT, "admm", 0.9), Cell(PARENT, "hydra", 0.9)
    finetune = job_specs.finetune_spec(found, admm).schedule
    assert (finetune.epochs, finetune.lr, finetune.momentum) == (9, 0.3, 0.5)
    prune = job_specs.prune_spec(found, admm)
    # It moves weights, and so as fine-tuning does; a spec says nothing else of it.
    assert (prune.schedule.epochs, prune.schedule.lr) == (7, 0.3)
    assert "training" not in prune.method
    assert job_specs.finetune_spec(found, hydra).schedule.epochs == 11
    assert job_specs.prune_spec(found, hydra).schedule.epochs == 15
    assert job_specs.pretrain_spec(found, PARENT).schedule.epochs == 30


def test_what_a_method_says_of_its_search_stands_against_what_it_takes_over() -> None:
    own = {"kind": "admm", "training": {"prune": {"lr": 0.7}}}
    assert study({"admm": own}).pruning_schedule("benign", "admm", 0.9).lr == 0.7


def test_initial_networks_train_under_a_pretraining_of_the_methods_own() -> None:
    found = study({"random-scratch": {"training": {"pretrain": {"epochs": 200}}}})
    assert found.pruning_schedule("benign", "random-scratch", 0.9).epochs == 200
    assert job_specs.pretrain_spec(found, PARENT).schedule.epochs == 30


@pytest.mark.parametrize(
    ("method", "stage", "told"),
    [
        ("hydra", "pretrain", "hydra prunes after training, .* training.pretrain; valid: prune or finetune"),
        ("random", "prune", "random prunes after training, .* training.prune; valid: finetune"),
        ("random-scratch", "prune", "random-scratch prunes during training, .*; valid: pretrain or finetune"),
        ("boosting-ticket", "finetune", "boosting-ticket prunes before training, .*; valid: prune or pretrain"),
    ],
)
def test_a_schedule_that_nothing_reads_is_refused(method: str, stage: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"methods\.{method}\.training\.{stage}: {told}$"):
        study({method: {"training": {stage: {"epochs": 40}}}})


@pytest.mark.parametrize(
    ("method", "stage", "change"),
    [
        ("imp", "prune", {"epochs": 7}),
        ("imp", "prune", {"max_grad_norm": None}),
        ("rst", "prune", {"optimizer": "adam"}),
        ("bcs", "pretrain", {"weight_decay": 0.1}),
        ("twinrep", "pretrain", {"weight_decay": 0.0}),
    ],
)
def test_a_change_that_a_method_replaces_by_its_own_is_refused(method: str, stage: str, change: dict[str, Any]) -> None:
    (key,) = change
    told = rf"methods\.mine\.training\.{stage}\.{key}: changes nothing, for {method} sets it .*; valid: without it(\n|$)"
    with pytest.raises(ConfigError, match=told):
        study({"mine": {"kind": method, "training": {stage: change}}})


@pytest.mark.parametrize(
    ("method", "stage", "change"),
    [
        ("imp", "pretrain", {"lr": 0.3, "warmup_epochs": 1}),
        ("rst", "pretrain", {"epochs": 7}),
        ("bcs", "pretrain", {"lr": 0.3, "max_grad_norm": 2}),
        ("boosting-ticket", "prune", {"lr": 0.3, "lr_decay": "constant"}),
        ("hydra", "prune", {"epochs": 1, "ramp_epochs": 1, "optimizer": "adam"}),
    ],
)
def test_a_change_that_a_method_reads_is_taken(method: str, stage: str, change: dict[str, Any]) -> None:
    read = study({"mine": {"kind": method, "training": {stage: change}}}).pruning_schedule("benign", "mine", 0.9)
    assert read != study({"mine": {"kind": method}}).pruning_schedule("benign", "mine", 0.9)


def test_a_schedule_that_is_none_names_the_method() -> None:
    with pytest.raises(
        ConfigError, match=r"methods\.hydra\.training\.prune: warmup_epochs \+ ramp_epochs is 16, must be at most"
    ):
        study({"hydra": {"training": {"prune": {"ramp_epochs": 16}}}})
    with pytest.raises(ConfigError, match=r"methods\.hydra\.training\.prune\.batch_size"):
        study({"hydra": {"training": {"prune": {"batch_size": 16}}}})
