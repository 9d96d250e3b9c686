"""Published figures beside measured ones: which meet, what is said of them, the page and the figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sparrow.files import published_figures
from sparrow.results.figures import style
from sparrow.results.figures.published import draw_published
from sparrow.results.published import compare, write_published
from sparrow.results.specs.comparison import PublishedSpec

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
    "nonstandard": {},
    "verifiers": {"adv": {"ibp": "ibp"}, "noise": {"ibp": "ibp", "certify": "smoothing"}},
    "epochs": {
        label: {"dense": "3", "hydra": "3 + 1 + 2", "lwm-global": "3 + 2", "lwm-filter": "3 + 2"} for label in ("adv", "noise")
    },
    "stage": "finetuned",
    "code": "test",
}
FIGURE = {"dataset": "cifar10", "model": "vgg", "objectives": [], "stage": "finetuned", "threats": {}, "code": "test"}


def network(method="hydra", ratio=0.9, seed=0, stage="finetuned", dataset="cifar10", objective="adv", failed=np.nan, **values):
    """A line of summary.csv, of accuracies that are right at 8/255."""
    line = {"dataset": dataset, "model": "vgg", "objective": objective, "method": method, "ratio": ratio, "seed": seed}
    line |= {"stage": stage, "failed": failed, "constant": False, "norm": "linf", "eps": 8 / 255, "data_regime": "held out 5 %"}
    numbers = {"benign": 0.8, "era_weak": 0.5, "era_strong": 0.48, "era_aa": 0.45, "era": 0.44}
    numbers |= {"vra_ibp": 0.01, "vra": 0.02, "vra_certify": 0.3} | values
    return line | numbers | {f"{name}_n": 1000 for name in numbers}


def figure(**values):
    """A published figure that a network of `network` can be compared with as it is, but for its training."""
    row = dict.fromkeys(published_figures.FIGURE_COLUMNS, "") | dict.fromkeys(
        published_figures.NUMBERS.keys() & set(published_figures.FIGURE_COLUMNS), math.nan
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
    return compare(pd.DataFrame(networks), figures, PublishedSpec(**SPEC | spec)).astype(object)


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


def test_an_autoattack_that_is_not_the_standard_version_says_so():
    theirs = figure(attack="AA", attack_kind="autoattack", era=44.0)
    assert only([network()], [theirs])["remarks"] == ""
    line = only([network()], [theirs], nonstandard={"aa": "precision bfloat16"})
    assert (line["attack"], line["remarks"]) == ("aa", "aa here with precision bfloat16")


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
    assert line["remarks"] == "l2 (radius not stated) there, linf 8/255 here"


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
    "eps": ({}, {"eps": 0.031}, "linf 0.031 there, linf 8/255 here"),
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
    assert table["remarks"].tolist() == ["", "linf 2/255 there, linf 8/255 here", "not measured"]


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
        "strong, linf 8/255, 1,000 images",
        "another data set: copy here, cifar10 there; linf 0.031 there, linf 8/255 here; there: &lt;b&gt;",
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
    draw_published(folder / "published.csv", folder / "a.svg", folder / "a.png", FIGURE)
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
            FIGURE,
        )
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_the_legend_of_many_methods_has_no_two_entries_that_look_alike(tmp_path, monkeypatch):
    rows = beside([network()], [figure()])
    many = pd.concat([rows.assign(method=f"method-{number}") for number in range(9)])
    (legend,) = drawn(tmp_path, monkeypatch, many).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"method-{number}" for number in range(5)),
        "all others",
        "published",
    ]
