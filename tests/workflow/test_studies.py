"""The ready-made studies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sparrow import catalogue
from tests.workflow.conftest import REPOSITORY, Checkout

STUDIES = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "workflow/studies").glob("*.yaml"))]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_can_be_planned(checkout: Checkout, study: Path) -> None:
    shutil.copy(study, checkout.root / "study.yaml")
    planned = checkout.planned()
    settings = yaml.safe_load(study.read_text())
    cells = len(settings["seeds"]) * len(settings["objectives"]) * len(settings["ratios"])
    by_filter = [entry for entry in settings["methods"].values() if entry and entry.get("granularity") == "filter"]
    found = [sum(job.startswith(word) for job in planned) for word in ("Prune", "Fine-tune", "Cut")]
    assert found == [cells * len(settings["methods"]), cells * len(settings["methods"]), cells * len(by_filter)]


def methods_of(study: str) -> dict[str, dict]:
    """The methods of a ready-made study by label, each with its kind."""
    entries = yaml.safe_load((REPOSITORY / f"workflow/studies/{study}.yaml").read_text())["methods"]
    return {label: {"kind": label} | (entry or {}) for label, entry in entries.items()}


def test_the_study_of_all_methods_has_them_all() -> None:
    assert {entry["kind"] for entry in methods_of("digits-methods").values()} == set(catalogue.kinds("methods"))


def test_the_study_of_all_methods_has_every_allocation() -> None:
    settings = methods_of("digits-methods").values()
    assert {entry.get("allocation", "uniform") for entry in settings} == {"uniform", "erk", "lamp", "global"}


def test_the_study_of_filters_has_every_method_that_can_remove_them() -> None:
    able = {kind for kind in catalogue.kinds("methods") if "granularity" in catalogue.load("methods", kind).Params.model_fields}
    assert {entry["kind"] for entry in methods_of("digits-filters").values()} == able
    assert {entry["granularity"] for entry in methods_of("digits-filters").values()} == {"filter"}


@pytest.mark.slow
def test_objectives_study_runs_to_its_summary(checkout: Checkout) -> None:
    shutil.copy(REPOSITORY / "workflow/studies/digits-objectives.yaml", checkout.root / "study.yaml")
    checkout.run()
    summary = pd.read_csv(checkout.root / "results/digits-objectives/summary.csv").set_index(["objective", "stage"])
    assert len(summary) == 2 + 2 * 2 * 3 * 4
    # Both objectives give networks worth pruning, and IBP training one that IBP can verify.
    assert (summary.xs("dense", level="stage")["era"] > 0.7).all()
    assert summary.loc[("ibp", "dense"), "vra_ibp"].item() > 0.6
    finetuned = summary.xs("finetuned", level="stage").query("ratio == 0.9").set_index("method", append=True)["era"]
    for objective in ("trades", "ibp"):
        for method in ("lwm", "lwm-global"):
            assert finetuned[objective, method] > finetuned[objective, "random"]
