"""The ready-made studies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import REPOSITORY, Checkout

STUDIES = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "workflow/studies").glob("*.yaml"))]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_can_be_planned(checkout: Checkout, study: Path) -> None:
    shutil.copy(study, checkout.root / "study.yaml")
    planned = checkout.planned()
    settings = yaml.safe_load(study.read_text())
    pruned = len(settings["objectives"]) * len(settings["methods"]) * len(settings["ratios"])
    assert sum(job.startswith("Prune") for job in planned) == pruned


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
