"""Published figures in the workflow: there only if they are asked for."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY, Checkout

BESIDE, HEADLINE = "Set the study beside published figures", "Set the study beside a published average"
PAGE = "Lay out the page of the study"
# A network and an objective of which something is published, on a data set that stands in for the published one.
PAPER = TINY | {"models": {"cnn7": None}, "objectives": {"crown-ibp": None}, "ratios": [0.89]}
STAND_IN = {"datasets": {"digits": "cifar10"}}


@pytest.mark.parametrize(
    ("study", "beside", "planned"),
    [
        (TINY, None, set()),
        (PAPER, {"headline": 1906.06110} | STAND_IN, {BESIDE, HEADLINE, "Draw published of cnn7 on digits"}),
        (PAPER, {"sources": ["RobustBench"]} | STAND_IN, {BESIDE}),
    ],
    ids=["not asked for", "something to draw", "nothing to draw"],
)
def test_only_what_is_asked_for_and_there_is_planned(
    checkout: Checkout, study: dict, beside: dict | None, planned: set
) -> None:
    checkout.write(copy.deepcopy(study) | ({} if beside is None else {"published": beside}))
    assert {job for job in checkout.planned() if "published" in job} == planned


def test_a_published_figure_that_changes_makes_its_table_and_the_page_anew(finished: Checkout, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "checkout")
    checkout = Checkout(tmp_path / "checkout")
    checkout.write(TINY | {"published": STAND_IN | {"headline": 1906.06110}})
    checkout.run()
    page = (checkout.root / "results/tables/published.html").read_text(encoding="utf-8")
    assert "Not the published data: digits is not cifar10" in page
    assert "another data set: digits here, cifar10 there" in (checkout.root / "results/headline.csv").read_text()
    assert checkout.planned() == []
    with checkout.edited("reports/published.csv", ",80.54,", ",80.55,"):
        assert checkout.planned() == [BESIDE, PAGE]


def test_a_row_of_ones_own_that_is_wrong_is_one_line(checkout: Checkout) -> None:
    checkout.write(TINY | {"published": {}})
    with open(checkout.root / "reports/published.csv", "a") as file:
        file.write("mine,CIFAR-10\n")
    done = checkout.snakemake("--dry-run")
    assert done.returncode != 0
    assert re.search(r"reports/published\.csv: line 232: has another number of fields than the header", done.stderr)
    assert "Traceback" not in done.stderr
