"""A study that grafts, from the data to the report."""

from __future__ import annotations

import pandas as pd
import pytest

from sparrow.cli.main import main
from sparrow.files.headers import read_header
from tests.workflow.conftest import TINY, Checkout

STUDY = TINY | {
    "objectives": {"adversarial": {"steps": 2}},
    "methods": {"lwm": {"granularity": "filter"}},
    "ratios": [0.5],
    "training": {stage: {"epochs": 6, "batch_size": 64} for stage in ("pretrain", "prune", "finetune")},
    "grafting": {"epochs": 4, "batch_size": 64, "lr": 0.01, "images": 100},
    "attacks": {"pgd": {"samples": 60, "steps": 5}},
    "verifiers": {"crown": {"samples": 60}, "branch-and-bound": {"samples": 3, "seconds": 2}},
    "analyses": {"stability": {"samples": 60}, "latency": {"batch_sizes": [1], "runtimes": ["torch"], "repeats": 6}},
    "evaluate": ["dense", "finetuned", "grafted"],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    from tests.workflow.conftest import copy_checkout

    checkout = copy_checkout(tmp_path_factory.mktemp("grafting"))
    checkout.write(STUDY)
    checkout.said = checkout.run()
    return checkout


def test_grafted_networks_have_fewer_unstable_neurons_and_no_lower_vra_than_by_chance(ran: Checkout) -> None:
    stability = pd.read_csv(ran.root / "results/stability.csv").groupby("stage")["unstable"].sum()
    assert stability["grafted"] < stability["finetuned"]
    summary = pd.read_csv(ran.root / "results/summary.csv").set_index("stage")
    assert set(summary.index) == {"dense", "finetuned", "grafted"}
    # 60 images: two binomial deviations are 13 points at most.
    assert summary.loc["grafted", "vra_crown"] > summary.loc["finetuned", "vra_crown"] - 0.13
    assert summary.loc["grafted", "era_pgd"] >= summary.loc["grafted", "vra_crown"]
    assert summary.loc["grafted", "benign"] > 0.5


def test_its_files_say_where_they_come_from(ran: Checkout, capsys: pytest.CaptureFixture) -> None:
    (network,) = (ran.root / "results").rglob("grafted.safetensors")
    header = read_header(network)
    assert (header["stage"], header["parent_stage"]) == ("grafted", "finetuned")
    assert 0 < header["lines"] <= header["neurons"] // 2
    assert main(["lineage", str(network)]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if line and line[0] != " "][1:] == [
        *("initial", "dense", "pruned", "finetuned", "grafted")
    ]
    provenance = pd.read_csv(ran.root / "results/provenance.csv").set_index("stage")
    assert isinstance(provenance.loc["grafted", "grafted_sha256"], str)
    assert pd.isna(provenance.loc["finetuned", "grafted_sha256"])


def test_the_report_has_its_stage_and_its_costs(ran: Checkout) -> None:
    costs = pd.read_csv(ran.root / "results/costs.csv")
    assert (costs["stage"] == "graft").sum() == 1
    assert "graft: seconds" in (ran.root / "results/tables/ranking.html").read_text()
    # Its lines are those of the neurons that the fine-tuned network beside it has left.
    summary = pd.read_csv(ran.root / "results/summary.csv").set_index("stage")
    left = summary["compact_parameters"]
    assert left["grafted"] == left["finetuned"] < summary.loc["grafted", "parameters"]
    assert summary.loc[["finetuned", "grafted"], "granularity"].tolist() == ["filter"] * 2


def test_another_schedule_of_grafting_runs_nothing_but_that_and_what_comes_of_it(ran: Checkout) -> None:
    ran.write(STUDY | {"grafting": STUDY["grafting"] | {"epochs": 5}})
    planned = ran.planned()
    assert len([line for line in planned if line.startswith("Graft ")]) == 1
    assert not [line for line in planned if line.startswith(("Pre-train", "Prune", "Fine-tune"))]
    assert not [line for line in planned if line.startswith(("Attack", "Verify")) and "grafted" not in line]
    ran.write(STUDY)
    assert not [line for line in ran.planned() if line.startswith("Graft ")]
