"""A published average beside the study's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sparrow.results.headline import average, write_headline
from sparrow.results.specs.comparison import HeadlineSpec

SPEC = {
    "sources": ["paper"],
    "datasets": {"cifar10": "cifar10", "copy": "cifar10", "svhn": "svhn"},
    "stand_ins": ["copy"],
    "methods": {
        "dense": {"kind": "dense", "granularity": "", "settings": ""},
        "lwm": {"kind": "lwm", "granularity": "weight", "settings": ""},
        "steps": {"kind": "lwm", "granularity": "weight", "settings": "steps 5"},
        "filters": {"kind": "lwm", "granularity": "filter", "settings": ""},
        "hydra": {"kind": "hydra", "granularity": "weight", "settings": ""},
    },
    "models": {"vgg": "vgg16-bn"},
    "objectives": {"adversarial": "adversarial"},
    "stage": "finetuned",
    "code": "test",
}


def network(method, kept, ratio=0.9, seed=0, stage="finetuned", dataset="cifar10", objective="adversarial", left=np.nan):
    """A line of summary.csv; `kept` is what is preserved of era, and twice what is preserved of vra.

    `left` is the share of the parameters that are there without the pruned filters.
    """
    line = {"dataset": dataset, "model": "vgg", "objective": objective, "method": method, "ratio": ratio, "seed": seed}
    line |= {"constant": False, "parameters": 1000, "compact_parameters": 1000 * left}
    return line | {"stage": stage, "preserved_benign": 1.0, "preserved_era": kept, "preserved_vra": kept / 2}


def stated(quantity="era", value=92.5):
    row = {"source": "paper", "quantity": quantity, "ratio": 0.9, "value": value, "quote": "on average <93%>"}
    return row | {"dataset_kind": "cifar10", "method_kind": "lwm"}


# Two cells of weights, one with two seeds: 0.8 and (0.9 + 0.7) / 2 = 0.8, and 1.1; and what must not count.
NETWORKS = [
    network("lwm", 0.9),
    network("lwm", 0.7, seed=1),
    network("steps", 1.1),
    network("filters", 0.5, ratio=0.68, left=0.102),
    network("filters", 9.0, ratio=0.69, left=0.096),
    network("filters", 9.0, ratio=0.5, left=0.25),
    network("filters", 9.0, ratio=0.9, left=0.011),
    network("hydra", 9.0),
    network("lwm", 9.0, ratio=0.5),
    network("lwm", 9.0, stage="pruned"),
    network("dense", 9.0, ratio=0.9, stage="dense"),
]


def lines(networks, row=None):
    return average(pd.DataFrame(networks), [row or stated()], HeadlineSpec(**SPEC)).set_index(["granularity", "objective"])


def test_cells_count_the_same_however_many_seeds_they_have():
    line = lines(NETWORKS).loc[("weight", "all")]
    assert (line["cells"], line["networks"]) == (2, 3)
    assert [line[name] for name in ("measured", "lowest", "highest")] == pytest.approx([95, 80, 110])
    assert (line["published"], line["difference"]) == (92.5, pytest.approx(2.5))


def test_filters_are_averaged_by_themselves():
    line = lines(NETWORKS).loc[("filter", "all")]
    assert (line["cells"], line["measured"], line["difference"]) == (1, pytest.approx(50), pytest.approx(-42.5))
    # By the share of weights, which is what is published, and not of filters.
    assert (line["ratio"], line["remarks"]) == (0.9, "without 0.68 of the filters, 0.102 of the parameters left")


def test_a_failed_network_without_filters_is_a_cell_left_out():
    failed = network("filters", np.nan, ratio=0.68, objective="crown-ibp") | {"parameters": np.nan}
    line = lines([network("filters", 0.5, ratio=0.68, left=0.102), failed]).loc[("filter", "all")]
    assert (line["cells"], line["measured"]) == (1, pytest.approx(50))
    assert line["remarks"].endswith("; 1 of 2 cells left out")


@pytest.mark.parametrize(("quantity", "measured"), [("benign", 100), ("era", 95), ("vra", 47.5)])
def test_every_quantity_is_its_own(quantity, measured):
    assert lines(NETWORKS, stated(quantity)).loc[("weight", "all"), "measured"] == pytest.approx(measured)


def test_of_several_objectives_each_has_a_line():
    networks = [network("lwm", 0.9), network("lwm", 0.5, objective="crown-ibp")]
    found = lines(networks).loc["weight"]
    assert found["measured"].to_dict() == pytest.approx({"all": 70, "adversarial": 90, "crown-ibp": 50})
    assert found["cells"].to_dict() == {"all": 2, "adversarial": 1, "crown-ibp": 1}


def test_a_cell_with_nothing_to_preserve_is_left_out_and_said():
    line = lines([network("lwm", 0.9), network("steps", np.nan)]).loc[("weight", "all")]
    assert (line["cells"], line["measured"], line["remarks"]) == (1, pytest.approx(90), "1 of 2 cells left out")


@pytest.mark.parametrize(
    ("dataset", "remark"),
    [
        ("cifar10", ""),
        ("copy", "another data set: copy here, cifar10 there"),
        ("svhn", "another data set: svhn here, cifar10 there"),
    ],
)
def test_another_data_set_is_said(dataset, remark):
    assert lines([network("lwm", 0.9, dataset=dataset)]).loc[("weight", "all"), "remarks"] == remark


@pytest.mark.parametrize(
    "networks",
    [
        [network("lwm", 0.9, ratio=0.5), network("filters", 0.9, left=0.01)],
        [network("hydra", 0.9)],
    ],
    ids=["ratio", "method"],
)
def test_a_study_without_such_cells_says_so(networks):
    found = lines(networks)
    assert found["remarks"].to_dict() == {
        ("weight", "all"): "no lwm at ratio 0.9 here",
        ("filter", "all"): "no lwm with 0.1 of the parameters left here",
    }
    assert found["measured"].isna().all()
    assert (found["cells"] == 0).all()


def test_the_page_quotes_the_source(tmp_path):
    names = ("summary.csv", "headlines.csv", "headline.csv", "page.html")
    summary, headlines, table, page = (tmp_path / name for name in names)
    pd.DataFrame(NETWORKS).to_csv(summary, index=False)
    pd.DataFrame([stated(), stated() | {"source": "another"}]).to_csv(headlines, index=False)
    write_headline(summary, headlines, table, page, SPEC)
    text = page.read_text(encoding="utf-8")
    assert "paper: “on average &lt;93%&gt;”" in text
    for words in ("92.5", "95.0", "+2.5", "80.0", "110.0"):
        assert f">{words}<" in text
    assert "another:" not in text
    assert pd.read_csv(table)["cells"].tolist() == [2, 1]


def test_networks_that_answer_with_one_class_are_told():
    found = lines([network("lwm", 0.9), network("lwm", 0.1, seed=1) | {"constant": True}])
    assert "1 of 2 networks answer with one class" in found.loc[("weight", "all"), "remarks"]
