"""A study of the user's own images, three own networks and an own method: it ends in its report, with gaps and no losses."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.workflow.conftest import REPOSITORY, TINY, Checkout

HEAD = '''"""{0}

Source: a test."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sparrow.lazy_torch import torch


class Params(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of 8 x 8 fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network."""
    nn = torch.nn
'''
END = "nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes))\n"
FRONT = "    return nn.Sequential(nn.Conv2d(shape[0], 8, 3, padding=1), "
NETWORKS = {
    "normed": FRONT + "nn.LayerNorm([8, 8, 8]), nn.ReLU(), " + END,
    "depthwise": FRONT + "nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU(), " + END,
    "odd": """
    class Halves(nn.Module):
        def forward(self, maps):
            first, second = maps.chunk(2, 1)
            return torch.cat([second, first], 1)

"""
    + FRONT
    + "nn.GroupNorm(2, 8), nn.SiLU(), Halves(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), "
    + END,
}
STUDY = TINY | {
    "datasets": {"own": {"kind": "image-folder", "folder": "images", "size": 8, "channels": 1, "classes": 2}},
    "models": dict.fromkeys(NETWORKS),
    "methods": {"smallest-sum": None, "lwm": {"granularity": "filter"}},
    "ratios": [0.5],
    "training": {stage: {"epochs": 1, "batch_size": 16} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"pgd": {"samples": 6, "steps": 2}},
    "verifiers": {"ibp": {"samples": 4}},
    "analyses": {
        "stability": {"samples": 4},
        "latency": {"batch_sizes": [1], "runtimes": ["torch"], "repeats": 6},
    },
}


@pytest.fixture
def own(checkout: Checkout) -> Checkout:
    """A checkout with their files in it."""
    source = checkout.root / "src/sparrow"
    for name, lines in NETWORKS.items():
        (source / f"models/{name}.py").write_text(HEAD.format(f"The network {name}.") + lines)
    (method,) = re.findall(
        r"<!-- example: smallest_sum.py -->\n```python\n(.+?)```", (REPOSITORY / "README.md").read_text(), re.S
    )
    (source / "methods/smallest_sum.py").write_text(method)
    images = np.random.default_rng(0)
    for name, shade in (("dark", 40), ("light", 160)):
        (checkout.root / "images" / name).mkdir(parents=True)
        for number in range(20):
            pixels = (shade + images.integers(0, 60, (8, 8))).astype(np.uint8)
            Image.fromarray(pixels).save(checkout.root / "images" / name / f"{number}.png")
    checkout.write(STUDY)
    return checkout


@pytest.mark.slow
def test_it_ends_in_its_report_with_gaps_and_without_losses(own: Checkout) -> None:
    said, results = own.run(), own.root / "results"
    assert "Traceback" not in said
    summary = pd.read_csv(results / "summary.csv")
    # What the filters of a network forbid is one gap for it, and every other network has its accuracies.
    gaps = summary["method"].eq("lwm") & summary["model"].isin(["normed", "odd"])
    assert summary.loc[gaps, "failed"].str.contains("0: filters cannot be cut out").all()
    assert summary.loc[gaps, "era"].isna().all()
    assert summary.loc[~gaps, ["benign", "era"]].notna().all(axis=None)
    assert summary.loc[summary["model"].eq("depthwise") & summary["method"].eq("lwm"), "compact_parameters"].notna().any()
    assert set(summary["model"]) == set(NETWORKS)
    assert set(summary["method"]) >= {"smallest-sum", "lwm"}
    assert "filters cannot be cut out" in (results / "tables/summary.html").read_text()
    assert own.planned() == []
    own.run("--report", "report.html")
    assert (own.root / "report.html").stat().st_size > 100_000
