"""Published figures: the data files, and a study set beside them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sparrow import catalogue, comparison, published
from sparrow.config import load_study
from sparrow.errors import ConfigError, SparrowError
from sparrow.results.figures import _style as style
from sparrow.results.figures.published import draw_published
from sparrow.results.published import compare, write_published

ROOT = Path(__file__).parents[1]
FIGURES = published.figures()
HYDRA = "inspire-group/hydra results table"


# The data files.


def test_the_figures_are_those_that_were_collected():
    counts = pd.Series([row["source"] for row in FIGURES]).value_counts()
    assert sorted(counts) == [1, 1, 8, 10, 56, 154]


@pytest.mark.parametrize("metric", ["benign", "era", "vra"])
def test_figures_are_percentages_and_robust_implies_correct(metric):
    values = [row[metric] for row in FIGURES if not math.isnan(row[metric])]
    assert values
    assert all(0 <= value <= 100 for value in values)
    assert all(row[metric] <= row["benign"] for row in FIGURES if not math.isnan(row[metric] + row["benign"]))


@pytest.mark.parametrize(("metric", "role"), [("era", "attack"), ("vra", "verifier")])
def test_what_a_robust_figure_was_measured_by_is_there_in_both_terms(metric, role):
    for row in FIGURES:
        assert [bool(row[role]), bool(row[f"{role}_kind"])] == [not math.isnan(row[metric])] * 2, row


TERMS = {
    "dataset_kind": set(catalogue.kinds("datasets")),
    "model_kind": set(catalogue.kinds("models")),
    "objective_kinds": set(catalogue.kinds("objectives")),
    "method_kind": {"", "dense", *catalogue.kinds("methods")},
    "attack_kind": {"", *catalogue.kinds("attacks")},
    "verifier_kind": {"", *catalogue.kinds("verifiers")},
    "norm": {"linf", "l2"},
    "granularity": {"", "weight", "filter"},
}


@pytest.mark.parametrize(("column", "known"), TERMS.items(), ids=TERMS)
def test_our_terms_are_kinds_that_there_are(column, known):
    words = {word for row in FIGURES for word in (row[column].split() or [""])}
    assert words <= known


def test_a_dense_network_is_of_ratio_0_and_lost_neither_weights_nor_filters():
    for row in FIGURES:
        assert (row["method_kind"] == "dense") == (row["ratio"] == 0) == (row["granularity"] == ""), row


def test_no_source_has_one_network_twice():
    keys = ["source", "dataset", "model", "objective", "structure", "method", "ratio", "norm", "eps", "attack_kind"]
    assert not pd.DataFrame(FIGURES).duplicated(keys).any()


@pytest.mark.parametrize(
    ("source", "network", "expected"),
    [
        (
            HYDRA,
            ("CIFAR-10", "VGG-16", "LWM", 0.9),
            {"era": 48.8, "method_kind": "lwm", "data_regime": "nothing held out, 500,000 extra"},
        ),
        (HYDRA, ("SVHN", "WRN-28-4", "HYDRA", 0.99), {"era": 52.4, "images": 26032, "data_regime": "nothing held out"}),
        ("pralab", ("CIFAR-10", "ResNet-18", "RADMM", 0.75), {"era": 40.79, "method_kind": "admm", "granularity": "filter"}),
        (
            "RobustBench",
            ("CIFAR-10", "WRN-28-10", "HYDRA", 0.9),
            {"benign": 88.98, "eps": 8 / 255, "attack_kind": "autoattack"},
        ),
        ("VITA", ("CIFAR-10", "CNN7-BN", "IMP", 0.87), {"vra": 50.1, "method_kind": "lwm", "eps": 2 / 255}),
    ],
)
def test_a_row_says_what_its_source_says(source, network, expected):
    rows = [
        row
        for row in FIGURES
        if source in row["source"] and network == tuple(row[key] for key in ("dataset", "model", "method", "ratio"))
    ]
    assert {key: rows[0][key] for key in expected} == expected


def test_the_headline_is_the_abstracts():
    rows = published.headlines()
    assert {row["quantity"]: row["value"] for row in rows} == {"benign": 93, "era": 92.5, "vra": 85}
    assert {(row["ratio"], row["method_kind"]) for row in rows} == {(0.9, "lwm")}
    assert all(f"{row['value']:g}" in row["quote"] for row in rows)


def file_of(tmp_path, **values):
    """A file of one published figure, the first, with some fields changed; a field that is None is left out."""
    with open(published.FIGURES, newline="") as file:
        row = next(csv.DictReader(file)) | values
    row = {key: value for key, value in row.items() if value is not None}
    with open(tmp_path / "own.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return tmp_path / "own.csv"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"era": "0.x"}, ["own.csv: line 2: era is '0.x'", "from 0 to 100"]),
        ({"benign": "101"}, ["line 2: benign is '101'", "from 0 to 100"]),
        ({"ratio": "90"}, ["line 2: ratio is '90'", "from 0 to 1"]),
        ({"source": ""}, ["line 2: has no source"]),
        ({"eps": None}, ["has no column eps"]),
    ],
)
def test_a_row_that_cannot_be_is_refused_in_one_line(tmp_path, values, words):
    with pytest.raises(SparrowError) as caught:
        published.figures(file_of(tmp_path, **values))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_row_that_is_too_short_is_refused(tmp_path):
    file = file_of(tmp_path)
    file.write_text(file.read_text() + "mine,CIFAR-10\n")
    with pytest.raises(SparrowError, match="line 3: has another number of fields"):
        published.figures(file)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SparrowError, match=r"own\.csv: cannot be read"):
        published.figures(tmp_path / "own.csv")


# The study's key.


def study(beside, **sections):
    """The default study with VGG-16's and the digits' labels, set beside published figures."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return load_study(config | sections | {"published": beside})


@pytest.mark.parametrize(
    ("beside", "found"),
    [
        ({}, 6),
        ({"sources": ["hydra"]}, 2),
        ({"sources": ["HYDRA results", "ctbench"]}, 2),
        ({"sources": ["AdversarialPruningBenchmark"]}, 1),
    ],
)
def test_a_source_is_named_by_any_part_of_its_name(beside, found):
    assert len(comparison.published_slice(study(beside))["sources"]) == found


@pytest.mark.parametrize("name", [1906.06110, "1906.06110", "sehwag et al. 2019"], ids=["number", "text", "words"])
def test_an_arxiv_number_need_not_be_quoted(name):
    assert comparison.headline_slice(study({"headline": name}))["sources"] == ["Sehwag et al. 2019 (arXiv 1906.06110)"]


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"sources": ["hidra"]}, ["published.sources.0: unknown source 'hidra'; valid", HYDRA, "RobustBench leaderboard"]),
        ({"headline": 1905.1}, ["published.headline: unknown source '1905.10000'; valid", "arXiv 1906.06110"]),
        (
            {"datasets": {"digits": "mnist"}},
            ["published.datasets.digits: nothing is published here on 'mnist'", "cifar10, svhn"],
        ),
        ({"datasets": {"digit": "cifar10"}}, ["published.datasets.digit: no data set of this study; valid: digits"]),
        ({"source": ["hydra"]}, ["published.source: unknown key 'source'", "'sources'?", "datasets, headline, sources"]),
    ],
)
def test_a_mistake_is_one_line_with_what_is_valid(beside, words):
    with pytest.raises(ConfigError) as caught:
        study(beside)
    (line,) = str(caught.value).splitlines()
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {("digits", "mine")}),
        ({"models": {"cnn-small": None}}, set()),
        ({"objectives": {"benign": None}}, set()),
        ({"methods": {"random": None}, "evaluate": ["finetuned"]}, set()),
        ({"methods": {"random": None}}, {("digits", "mine")}),  # Its dense network has a published figure.
        ({"ratios": [0.5], "evaluate": ["finetuned"]}, set()),
    ],
    ids=["all", "another model", "another objective", "another method", "dense", "another ratio"],
)
def test_there_is_something_to_draw_where_kinds_meet(changes, found):
    sections = {"models": {"mine": {"kind": "cnn7"}}, "objectives": {"crown-ibp": None}, "ratios": [0.89, 0.87]}
    beside = {"sources": ["VITA"], "datasets": {"digits": "cifar10"}}
    assert comparison.compared(study(beside, **sections | changes)) == found


def test_a_method_has_the_ratios_of_its_own_and_an_objective_its_own_models_and_evaluations():
    sections = {
        "models": {"cnn-small": None, "mine": {"kind": "cnn7"}},
        "objectives": {"benign": None, "crown-ibp": {"models": ["cnn-small"]}},
        "methods": {"hydra": {"ratios": [0.89]}, "lwm": {"allocation": "lamp", "steps": 3}},
        "attacks": {"pgd": None, "aa": {"kind": "autoattack", "objectives": ["benign"]}},
        "verifiers": {"ibp": None},
    }
    there = {"sources": ["VITA"], "datasets": {"digits": "cifar10"}}
    spec = comparison.published_slice(study(there, **sections))
    assert spec["ratios"] == [0, 0.5, 0.89, 0.9, 0.95, 0.99]
    assert spec["attacks"] == {"benign": {"pgd": "pgd", "aa": "autoattack"}, "crown-ibp": {"pgd": "pgd"}}
    assert [spec["methods"][label]["settings"] for label in ("hydra", "lwm")] == ["", "allocation lamp, steps 3"]
    # In several steps lwm trains between them, as long as others do while they prune.
    assert {"dense": "30", "hydra": "30 + 15 + 20", "lwm": "30 + 15 + 20"}.items() <= spec["epochs"]["benign"].items()
    # The network with published figures is not trained on their objective.
    assert comparison.compared(study(there, **sections)) == set()


@pytest.mark.parametrize(("kind", "stand_ins"), [("cifar10", ["digits"]), ("digits", [])])
def test_a_data_set_of_the_published_kind_is_no_stand_in(kind, stand_ins, monkeypatch):
    monkeypatch.setattr(published, "figures", lambda *_: [figure(dataset_kind=kind)])
    spec = comparison.published_slice(study({"datasets": {"digits": kind}}))
    assert (spec["datasets"], spec["stand_ins"]) == ({"digits": kind}, stand_ins)


def test_without_the_key_there_is_nothing_to_draw():
    assert comparison.compared(load_study(yaml.safe_load((ROOT / "config.yaml").read_text()))) == set()


# A study beside them.

SPEC = {
    "sources": ["paper"],
    "datasets": {"copy": "cifar10", "cifar10": "cifar10"},
    "stand_ins": ["copy"],
    "models": {"vgg": "vgg16-bn"},
    "objectives": {"adv": "adversarial", "noise": "smoothing"},
    "methods": {
        "dense": {"kind": "dense", "granularity": "", "settings": ""},
        "hydra": {"kind": "hydra", "granularity": "weight", "settings": ""},
        "lwm-global": {"kind": "lwm", "granularity": "weight", "settings": "allocation global"},
        "lwm-filter": {"kind": "lwm", "granularity": "filter", "settings": ""},
    },
    "ratios": [0.0, 0.9],
    "attacks": {label: {"weak": "pgd", "strong": "pgd", "aa": "autoattack"} for label in ("adv", "noise")},
    "not_in_era": [],
    "verifiers": {"adv": {"ibp": "ibp"}, "noise": {"ibp": "ibp", "certify": "smoothing"}},
    "epochs": {
        label: {"dense": "3", "hydra": "3 + 1 + 2", "lwm-global": "3 + 2", "lwm-filter": "3 + 2"} for label in ("adv", "noise")
    },
    "stage": "finetuned",
}


def network(method="hydra", ratio=0.9, seed=0, stage="finetuned", dataset="cifar10", objective="adv", failed=np.nan, **values):
    """A line of summary.csv, of accuracies that are right at 8/255."""
    line = {"dataset": dataset, "model": "vgg", "objective": objective, "method": method, "ratio": ratio, "seed": seed}
    line |= {"stage": stage, "failed": failed, "norm": "linf", "eps": 0.0313725, "data_regime": "held out 5 %"}
    numbers = {"benign": 0.8, "era_weak": 0.5, "era_strong": 0.48, "era_aa": 0.45, "era": 0.44}
    numbers |= {"vra_ibp": 0.01, "vra": 0.02, "vra_certify": 0.3} | values
    return line | numbers | {f"{name}_n": 1000 for name in numbers}


def figure(**values):
    """A published figure that a network of `network` can be compared with as it is, but for its training."""
    row = dict.fromkeys(published.FIGURE_COLUMNS, "") | dict.fromkeys(
        published.NUMBERS.keys() & set(published.FIGURE_COLUMNS), math.nan
    )
    row |= {"source": "paper", "dataset_kind": "cifar10", "model_kind": "vgg16-bn", "objective_kinds": "adversarial trades"}
    row |= {
        "method_kind": "hydra",
        "granularity": "weight",
        "ratio": 0.9,
        "attack": "PGD",
        "attack_kind": "pgd",
        "norm": "linf",
    }
    row |= {"eps": 8 / 255, "images": 1000.0, "data_regime": "held out 5 %", "epochs": "3 + 1 + 2", "benign": 79.0, "era": 50.5}
    return row | values


def beside(networks, figures, **spec):
    return compare(pd.DataFrame(networks), figures, SPEC | spec).astype(object)


def only(networks, figures, **spec):
    (line,) = beside(networks, figures, **spec).to_dict("records")
    return line


def test_seeds_are_averaged_and_compared_in_points():
    line = only([network(), network(seed=1, benign=0.7, era_strong=0.38)], [figure()])
    assert (line["seeds"], line["benign"], line["benign_difference"]) == (2, pytest.approx(75), pytest.approx(-4))
    assert (line["era_published"], line["era"], line["era_difference"]) == (50.5, pytest.approx(43), pytest.approx(-7.5))
    assert math.isnan(line["vra_difference"] or math.nan)


def test_a_network_that_could_be_the_same_has_no_remark():
    assert only([network()], [figure()])["remarks"] == ""


def test_an_era_is_compared_under_the_strongest_attack_of_the_sources_kind():
    line = only([network()], [figure()])
    assert (line["attack_published"], line["attack"], line["era"]) == ("PGD", "strong", pytest.approx(48))


def test_without_an_attack_of_that_kind_all_of_the_studys_count():
    line = only([network()], [figure(attack="C&W", attack_kind="cw")])
    assert (line["attack"], line["era"]) == ("all of weak, strong, aa", pytest.approx(44))
    assert line["remarks"] == "era by C&W there, by all of weak, strong, aa here"
    line = only([network()], [figure(attack="C&W", attack_kind="cw")], not_in_era=["weak"])
    assert line["attack"] == "all of strong, aa"


def test_an_attack_that_was_swept_elsewhere_is_not_of_the_threat():
    row = {key: value for key, value in network().items() if not key.startswith(("era_weak", "era_strong"))}
    assert only([row], [figure()])["attack"] == "all of weak, strong, aa"


def test_a_smoothed_vra_is_compared_with_a_smoothed_one():
    smoothed = figure(
        objective_kinds="smoothing",
        era=math.nan,
        vra=60.0,
        verifier="smoothing",
        verifier_kind="smoothing",
        norm="l2",
        eps=math.nan,
    )
    line = only([network(objective="noise")], [smoothed])
    assert (line["verifier"], line["vra"]) == ("certify", pytest.approx(30))
    assert line["remarks"] == "l2 (radius not stated) there, linf 0.03137 here"


def test_a_vra_is_compared_by_the_verifier_of_the_sources_kind_that_proves_most():
    proved = figure(era=math.nan, vra=1.5, verifier="complete", verifier_kind="branch-and-bound")
    verifiers = {"adv": {"quick": "branch-and-bound", "slow": "branch-and-bound", "ibp": "ibp"}}
    line = only([network(vra_quick=0.01, vra_slow=0.02)], [proved], verifiers=verifiers)
    assert (line["verifier"], line["vra"], line["vra_difference"]) == ("slow", pytest.approx(2), pytest.approx(0.5))


def test_the_images_are_those_behind_the_robust_figure():
    row = network() | {"benign_n": 10000, "era_strong_n": 1000}
    assert only([row], [figure()])["images"] == 1000
    assert only([row], [figure(era=math.nan)])["images"] == 10000


@pytest.mark.parametrize(
    ("figures", "images", "remarks"),
    [
        ([], 500, "no published figure"),
        ([figure(images=500.0)], 500, ""),
        (
            [figure(era=math.nan, vra=1.5, verifier="complete", verifier_kind="branch-and-bound")],
            1000,
            "vra by complete there, by nothing here",
        ),
    ],
    ids=["no figure", "an era", "a vra"],
)
def test_a_study_without_verifiers_names_none(figures, images, remarks):
    row = {key: value for key, value in network(vra=np.nan).items() if not key.startswith(("vra_ibp", "vra_certify"))}
    row |= {"era_n": 500, "era_strong_n": 500, "vra_n": 0}
    line = only([row], figures, verifiers={"adv": {}, "noise": {}})
    assert [line[key] or None for key in ("verifier", "images", "remarks")] == [None, images, remarks or None]


def test_networks_with_a_published_figure_come_first():
    table = beside([network("lwm-filter"), network()], [figure()])
    assert table["method"].tolist() == ["hydra", "lwm-filter"]


REMARKS = {
    "data set": ({"dataset": "copy"}, {}, "another data set: copy here, cifar10 there"),
    "eps": ({}, {"eps": 0.031}, "linf 0.031 there, linf 0.03137 here"),
    "rounded eps": ({}, {"eps": 0.03137}, ""),
    "images": ({}, {"images": 10000.0}, "10,000 test images there, 1,000 here"),
    "unknown images": ({}, {"images": math.nan}, ""),
    "data regime": (
        {},
        {"data_regime": "nothing held out, 500,000 extra"},
        "data: nothing held out, 500,000 extra there, held out 5 % here",
    ),
    "epochs": ({}, {"epochs": "100 + 20 + 100"}, "epochs: 100 + 20 + 100 there, 3 + 1 + 2 here"),
    "unknown epochs": ({}, {"epochs": ""}, "epochs: not stated there, 3 + 1 + 2 here"),
    "objective": ({}, {"objective_kinds": "trades adversarial"}, "trained on trades there, adversarial here"),
    "settings": (
        {"method": "lwm-global"},
        {"method_kind": "lwm", "epochs": "3 + 2"},
        "here with allocation global",
    ),
    "note": ({}, {"note": "pruned twice", "remark": "and slowly"}, "there: pruned twice; there: and slowly"),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), REMARKS.values(), ids=REMARKS)
def test_what_is_not_the_same_experiment_is_said(ours, theirs, expected):
    assert only([network(**ours)], [figure(**theirs)])["remarks"] == expected


def test_a_failed_seed_is_left_out_and_said():
    gap = dict.fromkeys((name for name in network() if name.startswith(("benign", "era", "vra"))), np.nan)
    line = only([network(), network(seed=1, failed="diverged", **gap)], [figure()])
    assert (line["seeds"], line["benign"]) == (1, pytest.approx(80))
    assert line["remarks"] == "1 of 2 networks here without a full result"


def test_a_dense_network_is_compared_with_a_dense_one():
    dense = figure(method_kind="dense", granularity="", ratio=0.0, epochs="3")
    line = only([network("dense", 0.0, stage="dense")], [dense])
    assert (line["method"], line["remarks"], line["era_published"]) == ("dense", "", 50.5)


def test_a_network_before_fine_tuning_is_not_compared():
    assert beside([network(stage="pruned"), network(era_strong=0.4)], [figure()])["era"].tolist() == [pytest.approx(40)]


@pytest.mark.parametrize(
    "values",
    [
        {"objective_kinds": "mart smoothing"},
        {"granularity": "filter", "method_kind": "lwm"},
        {"ratio": 0.0, "method_kind": "dense", "granularity": ""},
    ],
    ids=["objective", "granularity", "dense"],
)
def test_what_is_of_another_kind_that_the_study_has_is_listed_on_both_sides(values):
    table = beside([network()], [figure(**values)])
    assert table["remarks"].tolist() == ["no published figure", "not measured"]
    assert [pd.notna(value) for value in table["benign"]] == [True, False]
    assert [pd.notna(value) for value in table["benign_published"]] == [False, True]


@pytest.mark.parametrize(
    "values",
    [
        {"method_kind": ""},
        {"method_kind": "admm"},
        {"ratio": 0.5},
        {"granularity": "filter"},
        {"source": "another"},
        {"dataset_kind": "svhn"},
        {"model_kind": "resnet18"},
        {"objective_kinds": "trades mart"},
    ],
    ids=["no such method", "method", "ratio", "granularity", "source", "data set", "model", "objective"],
)
def test_figures_beyond_what_the_study_has_are_not_listed(values):
    assert beside([network()], [figure(), figure(**values)])["remarks"].tolist() == [""]


def test_of_several_radii_the_nearest_counts():
    table = beside(
        [network()], [figure(eps=2 / 255, era=70.0), figure(), figure(source="other", eps=2 / 255)], sources=["paper", "other"]
    )
    assert table["era_published"].tolist() == [50.5, 50.5, 70.0]
    assert table["remarks"].tolist() == ["", "linf 0.007843 there, linf 0.03137 here", "not measured"]


def test_the_summary_need_not_know_data_regimes():
    row = network()
    del row["data_regime"]
    assert only([row], [figure(data_regime="500,000 extra")])["remarks"] == ""


@pytest.fixture
def written(tmp_path):
    """The table and the page of a study with a figure, without one, and of one that it does not have."""
    rows = [network(dataset="copy"), network("lwm-filter", dataset="copy", benign=0.5)]
    pd.DataFrame(rows).to_csv(tmp_path / "summary.csv", index=False)
    figures = pd.DataFrame([figure(note="<b>", eps=0.031), figure(objective_kinds="smoothing", era=12.3)])
    figures.to_csv(tmp_path / "figures.csv", index=False)
    write_published(*(tmp_path / name for name in ("summary.csv", "figures.csv", "published.csv", "page.html")), SPEC)
    return tmp_path


def test_the_page_shows_both_sides_and_warns_of_another_data_set(written):
    page = (written / "page.html").read_text(encoding="utf-8")
    assert "<strong>Not the published data: copy is not cifar10.</strong>" in page
    for words in (
        "79.0 → 80.0 (+1.0)",
        "50.5 → 48.0 (-2.5)",
        "– → 50.0",
        "12.3 → –",
        "PGD, linf 0.031, 1,000 images",
        "strong, linf 0.03137, 1,000 images",
        "another data set: copy here, cifar10 there; linf 0.031 there, linf 0.03137 here; there: &lt;b&gt;",
        "not measured",
        "no published figure",
    ):
        assert f">{words}<" in page, words
    # Nothing is published about vra.
    assert ">vra<" not in page


def test_the_table_can_be_read_again(written):
    table = pd.read_csv(written / "published.csv")
    assert table["ratio"].tolist() == [0.9] * 3
    assert table["data_regime"].tolist()[:2] == ["held out 5 %"] * 2
    assert table["objective"].tolist() == ["adv", "adv", "smoothing"]


def drawn(folder, monkeypatch, rows):
    """The figure of these lines, caught on its way to the file."""
    caught = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: caught.append(figure))
    rows.to_csv(folder / "published.csv", index=False)
    draw_published(folder / "published.csv", folder / "a.svg", folder / "a.png", {"dataset": "cifar10", "model": "vgg"})
    style.plt.close(caught[0])
    return caught[0]


def test_a_line_goes_from_the_published_figure_to_ours(tmp_path, monkeypatch):
    rows = beside([network(), network("lwm-filter")], [figure(), figure(source="z", benign=math.nan)], sources=["paper", "z"])
    benign, era = drawn(tmp_path, monkeypatch, rows).axes
    assert [label.get_text() for label in benign.get_yticklabels()] == ["adv, hydra 0.9 [2]", "adv, hydra 0.9 [1]"]
    assert [sorted(line.get_xdata()) for line in benign.lines if len(line.get_xdata()) == 2] == [pytest.approx([79, 80])]
    assert [list(line.get_xdata()) for line in era.lines if len(line.get_xdata()) == 2] == [pytest.approx([50.5, 48])] * 2


def test_a_figure_of_nothing_measured_says_so(tmp_path, monkeypatch):
    rows = beside([network("lwm-filter")], [figure()])
    found = drawn(tmp_path, monkeypatch, rows)
    assert found.get_suptitle() == "nothing was measured of what is published"


def test_a_figure_drawn_twice_is_the_same_to_the_byte(tmp_path):
    beside([network()], [figure()]).to_csv(tmp_path / "published.csv", index=False)
    for name in ("one", "two"):
        draw_published(
            tmp_path / "published.csv",
            tmp_path / f"{name}.svg",
            tmp_path / f"{name}.png",
            {"dataset": "cifar10", "model": "vgg"},
        )
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_network_of_others_is_what_its_label_says(monkeypatch):
    path = "digits/cnn-small/adversarial/seed0/harp-0.75/finetuned"
    found = comparison.published_slice(study({}, imports={path: {"file": "theirs.pt", "granularity": "filter"}}))
    assert found["methods"]["harp"] == {"kind": "harp", "granularity": "filter", "settings": ""}
    assert found["epochs"]["adversarial"]["harp"] == ""
    assert 0.75 in found["ratios"]
