"""Published figures: the data files, and a study set beside them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pandas as pd
import pytest

from sparrow import catalogue
from sparrow.errors import ConfigError, SparrowError
from sparrow.files import published_figures
from sparrow.study import comparison
from sparrow.study.load import load_study
from tests.default_study import default_study
from tests.results.test_published import figure

ROOT = Path(__file__).parents[2]
FIGURES = published_figures.figures()
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
        ("VITA", ("CIFAR-10", "CNN7-BN", "IMP", 0.87), {"vra": 50.1, "method_kind": "imp", "eps": 2 / 255}),
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
    rows = published_figures.headlines()
    assert {row["quantity"]: row["value"] for row in rows} == {"benign": 93, "era": 92.5, "vra": 85}
    assert {(row["ratio"], row["method_kind"]) for row in rows} == {(0.9, "lwm")}
    assert all(f"{row['value']:g}" in row["quote"] for row in rows)


def file_of(tmp_path, **values):
    """A file of one published figure, the first, with some fields changed; a field that is None is left out."""
    with open(published_figures.FIGURES, newline="") as file:
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
        published_figures.figures(file_of(tmp_path, **values))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_row_that_is_too_short_is_refused(tmp_path):
    file = file_of(tmp_path)
    file.write_text(file.read_text() + "mine,CIFAR-10\n")
    with pytest.raises(SparrowError, match="line 3: has another number of fields"):
        published_figures.figures(file)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SparrowError, match=r"own\.csv: cannot be read"):
        published_figures.figures(tmp_path / "own.csv")


# The study's key.


def study(beside, **sections):
    """The default study with VGG-16's and the digits' labels, set beside published figures."""
    config = default_study()
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
    assert len(comparison.published_spec(study(beside)).sources) == found


def test_what_is_not_the_standard_autoattack_is_known():
    attacks = {"aa": {"kind": "autoattack", "samples": 10, "batch_size": 5}, "pgd": {"steps": 7}}
    attacks["quick"] = {"kind": "autoattack", "queries": 100, "precision": "bfloat16"}
    assert comparison.published_spec(study({}, attacks=attacks, verifiers={"ibp": {}})).nonstandard == {
        "quick": "queries 100, precision bfloat16"
    }


@pytest.mark.parametrize("name", [1906.06110, "1906.06110", "sehwag et al. 2019"], ids=["number", "text", "words"])
def test_an_arxiv_number_need_not_be_quoted(name):
    assert comparison.headline_spec(study({"headline": name})).sources == ["Sehwag et al. 2019 (arXiv 1906.06110)"]


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
    spec = comparison.published_spec(study(there, **sections))
    assert spec.ratios == [0, 0.5, 0.89, 0.9, 0.95, 0.99]
    assert spec.attacks == {"benign": {"pgd": "pgd", "aa": "autoattack"}, "crown-ibp": {"pgd": "pgd"}}
    assert [spec.methods[label].settings for label in ("hydra", "lwm")] == ["", "allocation lamp, steps 3"]
    # In several steps lwm trains between them, as long as others do while they prune.
    assert {"dense": "30", "hydra": "30 + 15 + 20", "lwm": "30 + 15 + 20"}.items() <= spec.epochs["benign"].items()
    # The network with published figures is not trained on their objective.
    assert comparison.compared(study(there, **sections)) == set()


@pytest.mark.parametrize(("kind", "stand_ins"), [("cifar10", ["digits"]), ("digits", [])])
def test_a_data_set_of_the_published_kind_is_no_stand_in(kind, stand_ins, monkeypatch):
    monkeypatch.setattr(published_figures, "figures", lambda *_: [figure(dataset_kind=kind)])
    spec = comparison.published_spec(study({"datasets": {"digits": kind}}))
    assert (spec.datasets, spec.stand_ins) == ({"digits": kind}, stand_ins)


def test_without_the_key_there_is_nothing_to_draw():
    assert comparison.compared(load_study(default_study())) == set()


# A study beside them.


def test_a_network_of_others_is_what_its_label_says(monkeypatch):
    path = "digits/cnn-small/adversarial/seed0/harp-0.75/finetuned"
    found = comparison.published_spec(study({}, imports={path: {"file": "theirs.pt", "granularity": "filter"}}))
    assert found.methods["harp"].model_dump() == {"kind": "harp", "granularity": "filter", "settings": ""}
    assert found.epochs["adversarial"]["harp"] == ""
    assert 0.75 in found.ratios
