"""A study that rounds weights, from the data to the report."""

from __future__ import annotations

import pandas as pd
import pytest

from sparrow.cli.main import main
from sparrow.files.headers import read_header
from tests.workflow.conftest import TINY, Checkout, copy_checkout

pytestmark = pytest.mark.slow  # Some forty jobs.

STUDY = TINY | {
    "objectives": {"adversarial": {"steps": 2}},
    "methods": {"lwm": None},
    "ratios": [0.5],
    "training": {stage: {"epochs": 4, "batch_size": 64} for stage in ("pretrain", "prune", "finetune")},
    "variants": {
        "int4": {"bits": 4},
        "int2": {"bits": 2, "epochs": 1},
        "mixed": {"mixed_precision": {"average_bits": 3, "candidates": [2, 4], "images": 10, "n0": 5, "n": 20}},
    },
    "attacks": {"pgd": {"samples": 60, "steps": 3}},
    "verifiers": {"ibp": {"samples": 60}},
    "analyses": {"stability": {"samples": 20}, "latency": {"batch_sizes": [1], "runtimes": ["torch"], "repeats": 6}},
    "evaluate": ["dense", "dense+int4", "finetuned", "finetuned+int4", "finetuned+int2", "finetuned+mixed"],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = copy_checkout(tmp_path_factory.mktemp("rounding"))
    checkout.write(STUDY)
    checkout.said = checkout.run()
    return checkout


def test_a_rounded_network_has_all_numbers_that_others_have(ran: Checkout) -> None:
    summary = pd.read_csv(ran.root / "results/summary.csv")
    assert summary["failed"].isna().all()
    assert ((summary["vra"] <= summary["era"]) & (summary["era"] <= summary["benign"])).all()
    assert (summary["preserved_benign"] > 0).all()
    lwm, dense = (summary[summary["ratio"] == ratio].set_index("stage") for ratio in (0.5, 0))
    average = lwm.loc["finetuned+mixed", "bits"]
    assert 2 < average <= 3
    assert lwm["bits"].to_dict() == {"finetuned": 32, "finetuned+int4": 4, "finetuned+int2": 2, "finetuned+mixed": average}
    assert lwm.loc["finetuned+mixed", "weight_bytes"] <= average * 22248 / 2 / 8 + 1
    layers = pd.read_csv(ran.root / "results/layers.csv")
    layers = layers[layers["method"] == "lwm"]
    own = layers[layers["stage"] == "finetuned+mixed"]
    assert set(own["bits"]) == {2, 4}
    kept = layers[layers["stage"] == "finetuned"]
    assert set(kept["bits"]) == {32}
    assert (own["bits"].to_numpy() * kept["nonzero"].to_numpy()).sum() == pytest.approx(
        average * kept["nonzero"].sum(), rel=1e-4
    )
    assert dense["bits"].to_dict() == {"dense": 32, "dense+int4": 4}
    # 22 248 weights, all of them, or half.
    assert dense.loc["dense", ["weight_bytes", "index_bytes"]].tolist() == [4 * 22248, 0]
    assert lwm.loc["finetuned", ["weight_bytes", "index_bytes"]].tolist() == [2 * 22248, 22248 / 8]
    # Rounding has made more zeros, which are counted.
    assert lwm.loc["finetuned+int2", "sparsity_prunable"] > lwm.loc["finetuned+int4", "sparsity_prunable"] > 0.5
    assert 2 * lwm.loc["finetuned+int4", "weight_bytes"] <= 22248 / 2


def test_its_files_say_where_they_come_from(ran: Checkout, capsys: pytest.CaptureFixture) -> None:
    (network,) = (ran.root / "results").rglob("lwm-0.50/finetuned+int2.safetensors")
    assert (read_header(network)["stage"], read_header(network)["parent_stage"]) == ("finetuned+int2", "finetuned")
    assert main(["lineage", str(network.with_suffix("") / "attacks/pgd.csv")]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if line and line[0] != " "][1:] == [
        *("initial", "dense", "pruned", "finetuned", "finetuned+int2", "table")
    ]
    provenance = pd.read_csv(ran.root / "results/provenance.csv").set_index("stage")
    assert isinstance(provenance.loc["finetuned+int2", "variant_sha256"], str)
    assert pd.isna(provenance.loc["finetuned", "variant_sha256"])


def test_tables_and_figures_know_it(ran: Checkout) -> None:
    results = ran.root / "results"
    assert (results / "figures/digits.cnn-small.bytes.svg").stat().st_size > 10000
    ranked = pd.read_csv(results / "ranking.csv")["stage"]
    assert set(ranked) == {"finetuned", "finetuned+int4", "finetuned+int2", "finetuned+mixed"}
    budgets = pd.read_csv(results / "budgets.csv").set_index(["method", "stage"])
    spent = budgets["quantise_gradient_evaluations"]
    assert pd.isna(spent["lwm", "finetuned"])
    assert spent["lwm", "finetuned+int4"] == 0
    # An epoch in place of four.
    assert 4 * spent["lwm", "finetuned+int2"] == budgets.loc[("lwm", "finetuned"), "finetune_gradient_evaluations"]
    chain = budgets["chain_gradient_evaluations"]
    assert chain["lwm", "finetuned+int2"] == chain["lwm", "finetuned"] + spent["lwm", "finetuned+int2"]
    assert set(pd.read_csv(results / "stability.csv")["stage"]) == set(STUDY["evaluate"])
    assert set(pd.read_csv(results / "latency.csv")["stage"]) >= {"finetuned", "finetuned+int4", "finetuned+int2"}


def test_other_bits_run_nothing_but_that_and_what_comes_of_it(ran: Checkout) -> None:
    ran.write(STUDY | {"variants": STUDY["variants"] | {"int4": {"bits": 5}}})
    planned = ran.planned()
    assert len([line for line in planned if line.startswith("Round ")]) == 2
    assert not [line for line in planned if line.startswith(("Pre-train", "Prune", "Fine-tune"))]
    assert not [line for line in planned if line.startswith(("Attack", "Verify")) and "+int4" not in line]
    ran.write(STUDY)
    assert not [line for line in ran.planned() if line.startswith("Round ")]
