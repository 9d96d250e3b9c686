"""A study whose radii are fractions, from its YAML to its tables and figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.workflow.conftest import TINY, Checkout
from tests.workflow.test_incremental import computed

EVALUATED = {"samples": 20, "eps": ["2/255", "8/255"]}
FRACTIONS = TINY | {
    "threat": {"eps": "8/255"},
    "objectives": {"benign": None},
    "methods": {"lwm": None},
    "training": {stage: {"epochs": 1, "batch_size": 256} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"fgsm": EVALUATED},
    "verifiers": {"ibp": EVALUATED},
    "evaluate": ["finetuned"],
}
FIGURE = "results/figures/digits.cnn-small.security.png"
NETWORK = "results/digits/cnn-small/benign/seed0/lwm-0.90/finetuned"


def test_fractions_stay_fractions_where_people_read_and_are_exact(checkout: Checkout) -> None:
    checkout.write(FRACTIONS)
    checkout.run("results/tables/summary.html", FIGURE)
    files = {str(path.relative_to(checkout.root / NETWORK)) for path in (checkout.root / NETWORK).rglob("*.csv")}
    assert files == {f"{name}{end}.csv" for name in ("attacks/fgsm", "verifiers/ibp") for end in ("", "-eps2_255")}
    results = checkout.root / "results"
    summary = pd.read_csv(results / "summary.csv", dtype={"eps": str, "eps_text": str}).iloc[0]
    assert (summary["eps"], summary["eps_text"]) == ("0.03137254901960784", "8/255")
    assert summary[["era_fgsm", "era_fgsm-eps2_255", "vra_ibp-eps2_255"]].notna().all()
    assert summary["era"] == summary["era_fgsm"]
    curve = pd.read_csv(results / "security.csv", dtype={"eps_text": str})
    assert curve["eps_text"].tolist() == ["2/255", "8/255"]
    assert curve["era_n"].tolist() == [20, 20]
    assert "Threat: linf 8/255." in (results / "tables/summary.html").read_text(encoding="utf-8")
    assert Path(checkout.root, FIGURE).stat().st_size > 1000
    # The same radius, written as the number that it is, makes nothing anew.
    evaluated = EVALUATED | {"eps": [0.00784313725490196, 0.03137254901960784]}
    checkout.write(FRACTIONS | {"threat": {"eps": 0.03137254901960784}, "attacks": {"fgsm": evaluated}})
    assert computed(checkout.planned("results/tables/summary.html")) == []
