"""A change re-runs what it touches and nothing else, as seen in dry runs over a finished study."""

from __future__ import annotations

import copy

import pytest

from tests.workflow.conftest import TINY, Checkout

# Whatever changes, the tables and figures that show it are made anew.
REPORTING = ("Aggregate", "Collect", "Lay out", "Draw")


@pytest.fixture
def study(finished: Checkout):
    """The tiny study, to be changed; the original is back afterwards."""
    yield copy.deepcopy(TINY)
    finished.write(TINY)


def computed(planned: list[str]) -> list[str]:
    """The planned jobs that compute something."""
    return [message for message in planned if not message.startswith(REPORTING)]


def test_finished_study_has_nothing_to_do(finished: Checkout) -> None:
    assert finished.planned() == []


def test_new_ratio_plans_only_its_own_cells(finished: Checkout, study: dict) -> None:
    study["ratios"].append(0.5)
    finished.write(study)
    jobs = computed(finished.planned())
    # Two methods, each pruned, fine-tuned and evaluated by two attacks and two verifiers.
    assert len(jobs) == 2 * (2 + 4)
    assert all("0.50" in job for job in jobs)


def test_new_steps_of_an_attack_plan_only_that_attack(finished: Checkout, study: dict) -> None:
    study["attacks"]["pgd"]["steps"] = 3
    finished.write(study)
    planned = finished.planned()
    assert len(computed(planned)) == 3
    assert all(job.startswith("Attack") and job.endswith("by pgd") for job in computed(planned))
    assert any(job.startswith("Aggregate") for job in planned)


def test_new_constant_in_a_method_plans_its_cells_alone(finished: Checkout) -> None:
    with finished.edited("src/sparrow/pruning/hydra.py", "0.5 * weight / largest", "0.25 * weight / largest"):
        jobs = computed(finished.planned())
    assert len(jobs) == 2 + 4
    assert all("hydra" in job for job in jobs)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""HYDRA: the mask is learned', '"""HYDRA (2020): the mask is learned'),
        ("def initial_scores", "# A remark.\n\n\ndef initial_scores"),
        ('"""Stop batch norm from learning while the scores do."""', '"""Freeze batch norm."""'),
    ],
    ids=["docstring", "comment", "description"],
)
def test_words_in_a_method_plan_nothing(finished: Checkout, old: str, new: str) -> None:
    with finished.edited("src/sparrow/pruning/hydra.py", old, new):
        assert finished.planned() == []


def test_one_evaluation_can_be_run_alone(finished: Checkout) -> None:
    target = "results/digits/cnn-small/benign/seed0/lwm-0.90/finetuned/verifiers/ibp.csv"
    assert finished.planned("--force", target) == ["Verify benign cnn-small lwm-0.90/finetuned by ibp"]
