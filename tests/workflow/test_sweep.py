"""A study of several radii with a cascade, kept examples, stable ReLUs, and an objective whose training diverges."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sparrow.files import examples
from tests.workflow.conftest import SWEPT, Checkout
from tests.workflow.test_incremental import computed

SEED = "digits/cnn-small/{}/seed0"
NETWORKS = ["dense", "lwm-0.90/finetuned"]
VERIFIERS = ["cascade", "cascade-eps0.05", "ibp-eps0.00001"]
RADII = {"": 0.1, "-eps0.05": 0.05}


def folder(checkout: Checkout, objective: str, network: str) -> Path:
    """The evaluations of a network."""
    return checkout.root / "results" / SEED.format(objective) / network


@pytest.fixture
def study(swept: Checkout) -> Iterator[dict]:
    """The study of several radii, to be changed; the original is back afterwards."""
    yield copy.deepcopy(SWEPT)
    swept.write(SWEPT)


@pytest.mark.parametrize("objective", ["benign", "diverging"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_all_its_evaluations(swept: Checkout, objective: str, network: str) -> None:
    place = folder(swept, objective, network)
    found = {str(path.relative_to(place)) for path in place.rglob("*.*")}
    attacks = {f"attacks/pgd{name}.{kind}" for name in RADII for kind in ("csv", "cost.json", "examples.safetensors")}
    attacks |= {f"attacks/fmn.{kind}" for kind in ("csv", "cost.json", "examples.safetensors")}
    attacks |= {f"attacks/fgsm-eps0.00001.{kind}" for kind in ("csv", "cost.json")}
    verifiers = {f"verifiers/{name}.{kind}" for name in VERIFIERS for kind in ("csv", "cost.json")}
    assert found == attacks | verifiers | {"analyses/stability.csv", "analyses/stability.cost.json"}
    family = place.parents[len(network.split("/")) - 1] / "analyses"
    assert {path.name for path in family.iterdir()} == {"latency.csv", "latency.cost.json"}


@pytest.mark.parametrize(("name", "eps"), RADII.items(), ids=["the study's", "another"])
@pytest.mark.parametrize("table", ["attacks/pgd", "verifiers/cascade"])
def test_a_table_is_about_the_radius_in_its_name(swept: Checkout, table: str, name: str, eps: float) -> None:
    assert set(pd.read_csv(folder(swept, "benign", "dense") / f"{table}{name}.csv")["eps"]) == {eps}


@pytest.mark.parametrize("network", NETWORKS)
def test_an_attack_leaves_out_what_a_verifier_has_proven(swept: Checkout, network: str) -> None:
    place = folder(swept, "benign", network)
    decided = pd.read_csv(place / "verifiers/ibp-eps0.00001.csv")
    proven = decided["status"] == "verified"
    left = (decided["prediction"] == decided["label"]) & ~proven
    assert proven.any()
    # FGSM asks for the gradient of each image once.
    cost = json.loads((place / "attacks/fgsm-eps0.00001.cost.json").read_text())
    assert cost["gradient_evaluations"] == left.sum()
    attacked = pd.read_csv(place / "attacks/fgsm-eps0.00001.csv").set_index("index")
    assert set(attacked.loc[decided.loc[proven, "index"], "status"]) == {"robust"}


@pytest.mark.parametrize("name", [*RADII])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_cascade_asks_no_bound_about_what_its_attack_has_broken(swept: Checkout, network: str, name: str) -> None:
    place = folder(swept, "benign", network)
    attacked = pd.read_csv(place / f"attacks/pgd{name}.csv").query("prediction == label")
    broken = set(attacked[attacked["status"] == "broken"]["index"])
    kept, _ = examples.read(place / f"attacks/pgd{name}.examples.safetensors")
    decided = pd.read_csv(place / f"verifiers/cascade{name}.csv").set_index("index")
    # After two epochs the pruned network may have nothing to lose at the smaller radius.
    assert broken or network != "dense"
    assert set(kept.tolist()) == broken == set(decided.index[decided["decided"] == "attack"])
    assert (decided.loc[sorted(broken), "status"] == "falsified").all()


def test_the_summary_has_a_column_for_every_radius(swept: Checkout) -> None:
    summary = pd.read_csv(swept.root / "results/summary.csv").query("objective == 'benign'")
    assert len(summary) == 2
    columns = ["era_pgd", "era_pgd-eps0.05", "era_fmn", "era", "vra_cascade", "vra_cascade-eps0.05", "vra"]
    assert summary[columns].notna().all(axis=None)
    assert (summary["era_pgd-eps0.05"] >= summary["era"]).all()
    assert (summary["vra_cascade-eps0.05"] >= summary["vra"]).all()


def test_every_network_has_a_curve_that_falls(swept: Checkout) -> None:
    security = pd.read_csv(swept.root / "results/security.csv")
    assert set(security["objective"]) == {"benign"}
    for _, curve in security.groupby("method"):
        # 60 steps from 0, the two radii of the sweep among them, and the small one.
        assert len(curve) == 62
        assert curve["era"].is_monotonic_decreasing
        assert curve["era"].iloc[0] > curve["era"].iloc[-1]
        assert curve["eps"][curve["vra"].notna()].tolist() == [0.00001, 0.05, 0.1]


def test_decisions_and_stable_relus_of_every_network_are_counted(swept: Checkout) -> None:
    decisions = pd.read_csv(swept.root / "results/decisions.csv")
    found = decisions.groupby(["method", "verifier"])["images"].sum().to_dict()
    assert found == {(method, verifier): 20 for method in ("dense", "lwm") for verifier in VERIFIERS}
    stability = pd.read_csv(swept.root / "results/stability.csv")
    assert stability[["method", "layer", "neurons"]].to_numpy().tolist() == [
        [method, layer, neurons] for method in ("dense", "lwm") for layer, neurons in ((1, 256), (2, 128), (3, 100))
    ]


def test_every_job_has_its_cost(swept: Checkout) -> None:
    stages = pd.read_csv(swept.root / "results/costs.csv")["stage"].value_counts()
    # Two objectives, each with two evaluated networks; of the failed one all jobs have run, too.
    trained = {"data": 1, "initial": 2, "pretrain": 2, "prune": 2, "finetune": 2}
    assert stages.to_dict() == trained | {"attack": 4 * 4, "verify": 4 * 3, "analyse": 4 + 2}


def test_every_figure_is_drawn(swept: Checkout) -> None:
    figures = ["accuracy", "preservation", "sparsity", "ranking", "recall", "curves"]
    figures += ["robustness", "decisions", "security", "stability", "latency"]
    found = {path.name: path.stat().st_size for path in (swept.root / "results/figures").iterdir()}
    assert set(found) == {f"digits.cnn-small.{figure}.{suffix}" for figure in figures for suffix in ("svg", "png", "pdf")}
    assert min(found.values()) > 1000


DIVERGED = "results/digits/cnn-small/diverging/seed0/dense.safetensors: epoch 1: the training loss is nan"


def test_a_training_that_diverges_is_told_of_once_and_the_study_goes_on(swept: Checkout) -> None:
    # That it has gone on, with the exit status 0, the fixture has seen.
    warnings = [line for line in swept.said.splitlines() if line.startswith("warning:")]
    assert [line for line in warnings if "recorded, the study goes on without it" in line] == [warnings[0]]
    assert warnings[0].startswith(f"warning: {DIVERGED}")
    (last,) = warnings[1:]
    gaps = "warning: 2 of 4 networks have no full result; the column `failed` of results/summary.csv says why; "
    # What was trained for an epoch on few images has learned nothing.
    assert last.startswith(f"{gaps}the dense networks of digits/cnn-small/benign are not told from chance")


def test_a_network_that_failed_is_a_gap_in_the_summary(swept: Checkout) -> None:
    summary = pd.read_csv(swept.root / "results/summary.csv").set_index("objective")
    gaps = summary.loc["diverging"]
    assert gaps["stage"].tolist() == ["dense", "finetuned"]
    assert gaps["failed"].str.startswith(DIVERGED).all()
    numbers = ["benign", "era", "vra", "nonzero", "compact_parameters", "preserved_era", "era_pgd-eps0.05"]
    assert gaps[numbers].isna().all(axis=None)
    assert summary.loc["benign", "failed"].isna().all()
    assert set(summary["data_regime"]) == {"held out 15 %"}


def test_a_network_that_failed_is_a_gap_in_the_report(swept: Checkout) -> None:
    assert DIVERGED in (swept.root / "results/tables/summary.html").read_text(encoding="utf-8")


def test_a_network_that_failed_leaves_a_line_in_every_log(swept: Checkout) -> None:
    # All but the initial network's, which is well.
    logs = [log for log in (swept.root / "results/logs" / SEED.format("diverging")).rglob("*.log") if log.stem != "initial"]
    texts = [log.read_text() for log in logs]
    # Three trainings, two networks evaluated in eight ways, both timed together.
    assert len(texts) == 3 + 2 * 8 + 1
    assert all(f"failed: {DIVERGED}" in text for text in texts)
    assert not any("Traceback" in text for text in texts)


def test_a_finished_study_with_a_gap_has_nothing_to_do(swept: Checkout) -> None:
    assert swept.planned() == []


def test_a_gap_is_closed_by_what_it_came_from(swept: Checkout, study: dict) -> None:
    study["objectives"]["diverging"] = {"kind": "benign", "training": {"pretrain": {"lr": 0.05}}}
    swept.write(study)
    jobs = computed(swept.planned())
    assert all(" diverging " in job or "(diverging, " in job for job in jobs)
    assert len(jobs) == 3 + 2 * 8 + 1


def test_a_new_radius_plans_its_own_attacks_alone(swept: Checkout, study: dict) -> None:
    study["attacks"]["pgd"]["eps"] = [0.05, 0.1, 0.2]
    swept.write(study)
    jobs = computed(swept.planned())
    assert len(jobs) == 4
    assert all(job.startswith("Attack ") and job.endswith(" by pgd-eps0.2") for job in jobs)


def test_a_new_radius_of_a_cascade_plans_its_own_verifications_and_their_attacks(swept: Checkout, study: dict) -> None:
    for entry in (study["attacks"]["pgd"], study["verifiers"]["cascade"]):
        entry["eps"] = [0.025, 0.05, 0.1]
    swept.write(study)
    jobs = computed(swept.planned())
    assert {job.rpartition(" by ")[2] for job in jobs} == {"pgd-eps0.025", "cascade-eps0.025"}
    assert len(jobs) == 4 + 4


@pytest.mark.parametrize("radii", [[0.1], [0.1, 0.05]], ids=["a radius less", "another order"])
def test_no_new_radius_plans_no_evaluation(swept: Checkout, study: dict, radii: list) -> None:
    for entry in (study["attacks"]["pgd"], study["verifiers"]["cascade"]):
        entry["eps"] = radii
    swept.write(study)
    assert computed(swept.planned()) == []


def test_a_cascade_runs_again_if_an_attack_it_looks_at_changes(swept: Checkout, study: dict) -> None:
    study["attacks"]["pgd"]["steps"] = 3
    swept.write(study)
    jobs = computed(swept.planned())
    assert {job.rpartition(" by ")[2] for job in jobs} == {"pgd", "pgd-eps0.05", "cascade", "cascade-eps0.05"}
    assert len(jobs) == 4 * 4


def test_an_attack_runs_again_if_a_verifier_it_believes_changes(swept: Checkout, study: dict) -> None:
    study["verifiers"]["ibp"]["samples"] = 19
    swept.write(study)
    jobs = computed(swept.planned())
    assert {job.rpartition(" by ")[2] for job in jobs} == {"ibp-eps0.00001", "fgsm-eps0.00001"}
    assert len(jobs) == 4 * 2


def test_a_cascade_does_not_run_again_for_an_attack_it_does_not_look_at(swept: Checkout, study: dict) -> None:
    study["attacks"]["fmn"]["steps"] = 6
    swept.write(study)
    jobs = computed(swept.planned())
    assert {job.rpartition(" by ")[2] for job in jobs} == {"fmn"}
    assert len(jobs) == 4


def test_examples_that_are_no_longer_kept_run_nothing_again(swept: Checkout, study: dict) -> None:
    study["attacks"]["fmn"]["keep_examples"] = False
    swept.write(study)
    assert computed(swept.planned()) == []


def test_another_radius_of_the_study_takes_no_table_for_another(swept: Checkout, study: dict) -> None:
    # `pgd` is now about what was `pgd-eps0.05`: a file of that name is there, and about something else.
    study["threat"] = {"eps": 0.05}
    swept.write(study)
    jobs = computed(swept.planned())
    assert {job.rpartition(" by ")[2] for job in jobs if " by " in job} == {
        *("pgd", "pgd-eps0.1", "fmn", "cascade", "cascade-eps0.1"),
    }
    # Benign training knows of no radius.
    assert len(jobs) == 4 * 6


def test_stable_relus_that_are_no_longer_counted_run_nothing_again(swept: Checkout, study: dict) -> None:
    study["analyses"] = {"latency": study["analyses"]["latency"]}
    swept.write(study)
    planned = swept.planned()
    assert computed(planned) == []
    assert any(job.startswith("Aggregate") for job in planned)


def test_more_images_for_stable_relus_plan_their_counting_alone(swept: Checkout, study: dict) -> None:
    study["analyses"]["stability"]["samples"] = 30
    swept.write(study)
    jobs = computed(swept.planned())
    assert len(jobs) == 4
    assert all(job.endswith(": stability") for job in jobs)
