"""The study of docs/extending.md, with all the files that it has its reader write, in a folder outside of src."""

from __future__ import annotations

import re

import pandas as pd
import yaml

from tests.workflow.conftest import REPOSITORY, Checkout

EXAMPLES = re.compile(r"`src/sparrow/(\S+)`:\n\n<!-- example: \S+ -->\n```python\n(.*?)```\n<!-- end -->", re.DOTALL)
STUDY = re.compile(r"<!-- example: my-study.yaml -->\n```yaml\n(.*?)```\n<!-- end -->", re.DOTALL)


def test_the_study_of_own_entries_alone_ends_in_its_tables(checkout: Checkout) -> None:
    page = (REPOSITORY / "docs/extending.md").read_text()
    study = yaml.safe_load(STUDY.search(page)[1])
    for name, text in EXAMPLES.findall(page):
        file = checkout.root / "my_entries" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    # Fewer cells than the page has, of the same kinds.
    checkout.write(study | {"entries": ["my_entries"], "methods": {"shrink": None}, "ratios": [0.9]})
    checkout.run()
    results = checkout.root / study["results"]
    summary = pd.read_csv(results / "summary.csv")
    assert summary["failed"].isna().all()
    assert sorted(summary["method"]) == ["dense", "shrink"]
    assert summary.loc[summary["method"] == "shrink", "sparsity_prunable"].between(0.899, 0.901).all()
    assert summary[["era_corners", "vra_tighter-of-two"]].notna().all(axis=None)
    assert summary.loc[summary["method"] == "shrink", "agreement_share"].between(0, 1).all()
    assert (summary["vra"] <= summary["era_corners"]).all()
    assert (results / "figures/stripes.one-layer.agreement.svg").is_file()
