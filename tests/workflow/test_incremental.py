"""A change re-runs what it touches and nothing else, as seen in dry runs over a finished study."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY, Checkout, copy_checkout

# Whatever changes, the tables and figures that show it are made anew.
REPORTING = ("Aggregate", "Collect", "Lay out", "Draw")
PAGE = "Lay out the page of the study"


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
    # Three methods, each pruned, fine-tuned and evaluated by two attacks and two verifiers.
    assert len(jobs) == 3 * (2 + 4)
    assert all("0.50" in job for job in jobs)


def test_new_steps_of_an_attack_plan_only_that_attack(finished: Checkout, study: dict) -> None:
    study["attacks"]["pgd"]["steps"] = 3
    finished.write(study)
    planned = finished.planned()
    assert len(computed(planned)) == 4
    assert all(job.startswith("Attack") and job.endswith("by pgd") for job in computed(planned))
    assert any(job.startswith("Aggregate") for job in planned)


def test_new_constant_in_a_method_plans_its_cells_alone(finished: Checkout) -> None:
    with finished.edited("src/sparrow/methods/hydra.py", "Field(6.0, gt=0)", "Field(5.0, gt=0)"):
        jobs = computed(finished.planned())
    assert len(jobs) == 2 + 4
    assert all("hydra" in job for job in jobs)


def test_new_code_of_what_two_methods_share_plans_their_cells_alone(finished: Checkout) -> None:
    with finished.edited("src/sparrow/pruning/learned_scores.py", "** 0.5 * sizes / largest", "** 0.25 * sizes / largest"):
        jobs = computed(finished.planned())
    assert len([job for job in jobs if "hydra" in job]) == 2 + 4
    assert len([job for job in jobs if "harp" in job]) == 2 + 4
    assert len(jobs) == 12


def test_new_code_of_when_filters_are_cut_out_plans_all_pruned_networks_and_no_training_before(finished: Checkout) -> None:
    with finished.edited("src/sparrow/stages/_physical_size.py", "IMAGES = 256", "IMAGES = 128"):
        jobs = computed(finished.planned())
    assert len([job for job in jobs if job.startswith("Prune")]) == 3
    assert not [job for job in jobs if job.startswith("Pre-train")]


def test_a_method_that_removes_filters_instead_is_pruned_anew(finished: Checkout, study: dict) -> None:
    study["methods"]["hydra"] = {"granularity": "filter"}
    finished.write(study)
    jobs = computed(finished.planned())
    assert len(jobs) == 2 + 4
    assert all("hydra" in job for job in jobs)


def test_new_code_of_the_ranking_computes_no_network_anew(finished: Checkout) -> None:
    with finished.edited("src/sparrow/results/ranking.py", "min(1.0, (len", "min(1.5, (len"):
        planned = finished.planned()
    assert computed(planned) == []
    assert any(job.startswith("Aggregate") for job in planned)


@pytest.mark.parametrize(
    ("old", "new", "planned"),
    [
        # The page says what a method is.
        ('"""HYDRA: the mask is learned', '"""HYDRA (2020): the mask is learned', [PAGE]),
        ("def prepare", "# A remark.\n\n\ndef prepare", []),
        (
            '"""Stop batch norm from learning while the scores do; its running statistics stay, too."""',
            '"""Freeze batch norm."""',
            [],
        ),
    ],
    ids=["docstring", "comment", "description"],
)
def test_words_in_a_method_plan_no_job_but_for_the_page(finished: Checkout, old: str, new: str, planned: list[str]) -> None:
    with finished.edited("src/sparrow/methods/hydra.py", old, new):
        assert finished.planned() == planned


def test_one_evaluation_can_be_run_alone(finished: Checkout) -> None:
    target = "results/digits/cnn-small/benign/seed0/lwm-0.90/finetuned/verifiers/ibp.csv"
    assert finished.planned("--force", target) == ["Verify benign cnn-small lwm-0.90/finetuned by ibp"]


PROFILE = ("--workflow-profile", "workflow/profiles/default")


def touch_scripts(root: Path) -> None:
    """Give the scripts the time of now, as a clone does."""
    for path in root.glob("workflow/scripts/*.py"):
        path.touch()


def test_scripts_with_new_times_plan_nothing(finished: Checkout) -> None:
    before = {path: path.stat() for path in finished.root.glob("workflow/scripts/*.py")}
    touch_scripts(finished.root)
    assert finished.planned(*PROFILE) == []
    for path, times in before.items():  # Others plan without the profile.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_clone_over_the_results_of_another_has_nothing_to_do(finished: Checkout, tmp_path: Path) -> None:
    clone = copy_checkout(tmp_path)
    touch_scripts(clone.root)
    for folder in ("results", ".snakemake"):
        shutil.copytree(finished.root / folder, clone.root / folder, ignore=shutil.ignore_patterns("locks"))
    assert clone.planned(*PROFILE) == []


def test_new_text_of_the_script_plans_everything_and_words_nothing(finished: Checkout) -> None:
    with finished.edited("workflow/scripts/job.py", "from sparrow", "# A remark.\nfrom sparrow"):
        assert finished.planned(*PROFILE) == []
    with finished.edited("workflow/scripts/job.py", "snakemake.threads", "snakemake.threads + 0"):
        planned = finished.planned(*PROFILE)
    assert any(job.startswith("Prepare digits") for job in planned)
    assert sorted(planned) == sorted(finished.planned(*PROFILE, "--forceall"))


def test_a_report_of_a_study_that_has_grown_says_what_is_not_in_it(finished: Checkout, study: dict) -> None:
    said = "jobs of this study have not run as it is now: tables and figures show it as it was before"
    shown = finished.root / "report.html"
    assert said not in finished.run(*PROFILE, "--report", shown.name)
    assert said not in shown.read_text()
    study["ratios"].append(0.5)
    finished.write(study)
    assert f"{said}\n" in finished.run(*PROFILE, "--report", shown.name)
    assert said in shown.read_text()
