"""The study of docs/extending.md, with all the files that it has its reader write."""

from __future__ import annotations

import re

import pandas as pd
import yaml

from tests.workflow.conftest import REPOSITORY, Checkout

EXAMPLES = re.compile(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```\n<!-- end -->", re.DOTALL)


def test_the_study_of_own_entries_alone_ends_in_its_tables(checkout: Checkout) -> None:
    files = dict(EXAMPLES.findall((REPOSITORY / "docs/extending.md").read_text()))
    study = yaml.safe_load(files.pop("my-study.yaml"))
    for name, text in files.items():
        (checkout.root / "src/sparrow" / name).write_text(text)
    # Fewer cells than the page has, of the same kinds.
    checkout.write(study | {"methods": {"shrink": None}, "ratios": [0.9]})
    checkout.run()
    results = checkout.root / study["results"]
    summary = pd.read_csv(results / "summary.csv")
    assert summary["failed"].isna().all()
    assert sorted(summary["method"]) == ["dense", "shrink"]
    assert summary.loc[summary["method"] == "shrink", "sparsity_prunable"].between(0.899, 0.901).all()
    assert summary[["era_corners", "vra_tighter-of-two", "margins_mean"]].notna().all(axis=None)
    assert (summary["vra"] <= summary["era_corners"]).all()
    assert (results / "margins.csv").is_file()
