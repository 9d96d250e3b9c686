"""A study of one's own images, of three networks with layers that Sparrow's own do not have, and of an own method: all of it
ends in numbers, and what cannot be cut or bounded is said where the numbers are."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sparrow.files.headers import read
from tests.workflow.conftest import Checkout

OWN = Path(__file__).parent / "own_networks"
FILTERS = ["lwm-filter", "random-filter", "least-spread"]


@pytest.fixture
def own(checkout: Checkout) -> Checkout:
    """A checkout with the images, the entries and the study in it."""
    shutil.copytree(OWN / "entries", checkout.root / "entries", ignore=shutil.ignore_patterns("__pycache__"))
    spec = importlib.util.spec_from_file_location("images", OWN / "images.py")
    images = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(images)
    images.draw(checkout.root / "images", each=29)
    checkout.write(yaml.safe_load((OWN / "study.yaml").read_text()))
    return checkout


def _filters_gone(path: Path) -> list[float]:
    """The share of filters that a network without residuals has lost, cut out or masked, of each layer but the last."""
    header, tensors = read(path)
    there = {name: tensors[f"mask/{name}"].flatten(1).any(dim=1) for name in header["prunable"][:-1]}
    return [1 - int(rows.sum()) / len(tensors.get(f"kept/0/{name}", rows)) for name, rows in there.items()]


@pytest.mark.slow
def test_it_ends_in_its_report_without_gaps(own: Checkout) -> None:
    said, results = own.run(), own.root / "results"
    assert "Traceback" not in said
    summary = pd.read_csv(results / "summary.csv")
    assert len(summary) == 3 * 5
    assert summary[["benign", "era_pgd", "era_fmn", "era", "vra_ibp", "vra_cascade"]].notna().all(axis=None)

    # What no line goes over is named, with the bound, and the other bounds count.
    leaky = summary["model"].eq("leaky")
    assert summary.loc[~leaky, "failed"].isna().all()
    assert summary.loc[~leaky, ["vra_crown", "vra_alpha-crown", "vra"]].notna().all(axis=None)
    assert summary.loc[leaky, "failed"].str.contains(r"layer 3 \(MaxPool2d\) by CROWN").all()
    assert summary.loc[leaky, "vra_crown"].isna().all()
    # They are bounds that prove something.
    assert summary.loc[summary["model"].eq("separable") & summary["method"].eq("dense"), "vra_crown"].gt(0).all()

    # Ratios are exact: of weights for lwm, of filters for the others, whether they could be cut out or not.
    weights = summary[summary["method"].eq("lwm")]
    assert weights["sparsity_masks"].between(0.49, 0.51).all()
    for method in FILTERS:
        path = results / f"drawn/leaky/adversarial/seed0/{method}-0.50/finetuned.safetensors"
        assert _filters_gone(path) == [0.5] * 4

    filters = summary[summary["method"].isin(FILTERS)]
    assert (filters["compact_parameters"] < filters["parameters"]).all()
    told = filters.groupby("model")["uncut"]
    assert told.get_group("separable").isna().all()
    assert (
        told.get_group("convnext").str.contains(r"removed filters stay as zeros, for the channels of 1 \(ChannelNorm\)").all()
    )
    assert told.get_group("leaky").str.contains("removed filters stay as zeros").all()

    times = pd.read_csv(results / "latency.csv")
    assert set(times["model"]) == {"separable", "convnext", "leaky"}
    for _, rows in times[times["method"].isin(FILTERS)].groupby(["model", "method"]):
        assert {(form, runtime) for form in ("masked", "compact") for runtime in ("torch", "onnxruntime")} == set(
            zip(rows["form"], rows["runtime"], strict=True)
        )
    page = (results / "tables/report.html").read_text()
    assert "separable" in page
    assert "removed filters stay as zeros" in page
    assert own.planned() == []
