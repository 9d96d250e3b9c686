"""Dense networks alone and rounded, one of them a third party's: no method, nothing pruned, the figures that show them."""

from __future__ import annotations

import pandas as pd
import torch

from sparrow import catalogue
from tests.workflow.conftest import TINY, Checkout

STUDY = {key: value for key, value in TINY.items() if key not in ("methods", "ratios")} | {
    "results": "dense-only",
    "evaluate": ["dense", "dense+int2"],
    "variants": {"int2": {"bits": 2}},
    "models": {"mlp": {"hidden": [20]}},
    "seeds": [0, 1],
    "training": {stage: {"epochs": 1, "batch_size": 256} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"fgsm": {"samples": 20}},
    "verifiers": {"ibp": {"samples": 20}},
    "imports": {"digits/mlp/benign/seed1/dense": {"file": "theirs.pth", "map": "alpha-beta-crown"}},
}


def test_dense_networks_alone_come_to_tables_and_figures(checkout: Checkout) -> None:
    entry = catalogue.load("models", "mlp")
    theirs = entry.build(entry.Params(hidden=[20]), (1, 8, 8), 10)
    for parameter in theirs.parameters():
        torch.nn.init.zeros_(parameter)
    torch.save({"state_dict": [theirs.state_dict()]}, checkout.root / "theirs.pth")
    checkout.write(STUDY)
    said, results = checkout.run(), checkout.root / "dense-only"
    summary = pd.read_csv(results / "summary.csv")
    assert summary[["method", "seed"]].to_numpy().tolist() == [
        [name, seed] for name in ("dense", "dense+int2") for seed in (0, 1)
    ]
    assert summary["era"].notna().all()
    assert summary["vra"].notna().all()
    assert pd.read_csv(results / "ranking.csv").empty
    assert "there is nothing to rank" in (results / "tables/ranking.html").read_text()
    figures = {path.name.split(".")[2] for path in (results / "figures").iterdir()}
    assert figures == {"robustness", "decisions", "curves", "bytes"}
    assert not list(results.rglob("pruned*"))
    # A network of zeros gives each image the same class.
    warning, last = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert "2 of 4 networks answer with one class" in last
    assert "validation images classified rightly" in warning
    assert warning.endswith("or another order of classes? (docs/exchange.md)")
    assert checkout.planned() == []
