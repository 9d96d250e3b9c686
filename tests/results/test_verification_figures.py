"""The figures about verification, from small made-up results."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sparrow.analyses.stability import draw as draw_stability
from sparrow.results.figures import style
from sparrow.results.figures.decisions import draw_decisions
from sparrow.results.figures.robustness import draw_robustness
from sparrow.results.figures.security import draw_security

OBJECTIVES = ["adversarial", "ibp"]
SPEC = {"dataset": "digits", "model": "cnn-small", "objectives": OBJECTIVES, "stage": "finetuned", "code": "test"}
SPEC["measured"] = {objective: ["era", "vra"] for objective in OBJECTIVES}
SPEC["threats"] = {objective: {"norm": "linf", "eps": 0.1} for objective in OBJECTIVES}


def networks(seeds=(0,), ratios=(0.5, 0.9), methods=("lwm", "hydra")):
    """Who the networks of a study are, dense ones first."""
    for objective, seed in product(OBJECTIVES, seeds):
        common = {"dataset": "digits", "model": "cnn-small", "objective": objective, "seed": seed}
        yield common | {"method": "dense", "ratio": 0.0, "stage": "dense"}
        for method, ratio in product(methods, ratios):
            yield common | {"method": method, "ratio": ratio, "stage": "finetuned", "code": "test"}


def interval(name, value):
    return {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05, f"{name}_n": 100}


def summary(who):
    vra = 0.3 + 0.4 * who["ratio"]
    who = who | {"constant": False, "granularity": "" if who["method"] == "dense" else "weight"}
    return [who | interval("benign", 0.9) | interval("era", 0.8) | interval("vra", vra)]


def security(who):
    return [
        who | {"constant": False, "eps": eps} | interval("era", 0.9 - eps) | interval("vra", 0.5 - eps)
        for eps in (0.05, 0.1, 0.2)
    ]


def decisions(who):
    """Those of each verifier, and of all together, which alone are drawn."""
    parts = {
        "cascade-eps0.05": [("falsified", "misclassified", 5), ("verified", "ibp", 95)],
        "ibp": [("falsified", "misclassified", 5), ("unknown", "nothing", 90), ("verified", "ibp", 5)],
        None: [("falsified", "attack", 10), ("unknown", "nothing", 20), ("verified", "crown", 70)],
    }
    return [
        who | {"verifier": verifier, "eps": eps, "status": status, "decided": decided, "images": images, "seen": 100}
        for (verifier, rows), eps in zip(parts.items(), (0.05, 0.1, 0.1), strict=True)
        for status, decided, images in rows
    ]


def stability(who):
    unstable = 40 if who["method"] == "dense" else 40 * (1 - who["ratio"])
    return [
        who | {"layer": layer, "neurons": 100, "active": 30, "inactive": 70 - unstable, "unstable": unstable, "images": 90}
        for layer in (1, 2)
    ]


FIGURES = {
    "robustness": (draw_robustness, summary),
    "security": (draw_security, security),
    "decisions": (draw_decisions, decisions),
    "stability": (draw_stability, stability),
}
every_figure = pytest.mark.parametrize("name", FIGURES)


def draw(name, folder: Path, table: pd.DataFrame, **spec) -> Path:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "table.csv", index=False)
    told = {key: value for key, value in (SPEC | spec).items() if key != "measured" or name == "decisions"}
    FIGURES[name][0](folder / "table.csv", folder / "figure.svg", folder / "figure.png", told)
    return folder / "figure.png"


def table_of(name, **study) -> pd.DataFrame:
    return pd.DataFrame([row for who in networks(**study) for row in FIGURES[name][1](who)])


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, still open."""
    figures = []
    write = style.write

    def spy(figure, svg, png):
        figures.append(figure)
        write(figure, svg, png)

    monkeypatch.setattr(style, "write", spy)
    return figures


@every_figure
def test_there_is_something_to_see(name, tmp_path):
    with Image.open(draw(name, tmp_path, table_of(name))) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


@every_figure
def test_the_same_table_gives_the_same_bytes(name, tmp_path):
    one, two = (draw(name, tmp_path / folder, table_of(name)) for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".svg").read_bytes() == two.with_suffix(".svg").read_bytes()


@every_figure
@pytest.mark.parametrize(
    "study",
    [{"seeds": (0, 1)}, {"ratios": (0.9,)}, {"methods": tuple(f"method-{number}" for number in range(13))}],
    ids=["seeds", "one ratio", "many methods"],
)
def test_studies_of_other_sizes_are_drawn(name, study, tmp_path):
    assert draw(name, tmp_path, table_of(name, **study)).stat().st_size > 1000


@every_figure
def test_what_failed_is_left_out(name, tmp_path):
    table = table_of(name)
    gone = (table["objective"] == "ibp") | (table["method"] == "hydra")
    if name == "robustness":  # There, a network that failed has a row without numbers.
        table.loc[gone, [column for column in table if column.startswith(("benign", "era", "vra"))]] = np.nan
        table.loc[gone, ["benign_n", "era_n", "vra_n"]] = 0
    else:
        table = table[~gone]
    assert draw(name, tmp_path, table).stat().st_size > 1000


@every_figure
def test_nothing_to_draw_is_an_empty_figure(name, tmp_path):
    assert draw(name, tmp_path, table_of(name), dataset="another").is_file()


@every_figure
def test_without_dense_networks_the_others_are_drawn(name, tmp_path):
    table = table_of(name)
    assert draw(name, tmp_path, table[table["stage"] != "dense"]).stat().st_size > 1000


def test_the_bars_are_what_all_verifiers_and_attacks_know(drawn, tmp_path):
    draw("decisions", tmp_path, table_of("decisions"))
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes] == ["adversarial\nlinf 0.1", "ibp\nlinf 0.1"]
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["falsified: attack", "unknown", "verified: crown"]
    # Five networks, each divided into 10, 20 and 70 %.
    assert [[bar.get_width() for bar in bars] for bars in figure.axes[0].containers] == [[10] * 5, [20] * 5, [70] * 5]


@pytest.mark.parametrize(("measured", "words"), [(["era", "vra"], "no result"), (["era"], "not verified")])
def test_an_objective_without_decisions_says_why(measured, words, drawn, tmp_path):
    table = table_of("decisions", methods=("lwm",), ratios=(0.9,))
    draw("decisions", tmp_path, table[table["objective"] != "ibp"], measured=SPEC["measured"] | {"ibp": measured})
    axes = drawn[0].axes[1]
    assert axes.get_title() == "ibp"
    assert [text.get_text() for text in axes.texts] == [words] * 2


L2 = {"norm": "l2", "eps": 0.5}


@pytest.mark.parametrize("name", ["robustness", "security", "stability"])
def test_threats_that_differ_are_in_the_titles(name, drawn, tmp_path):
    draw(name, tmp_path, table_of(name), threats=SPEC["threats"] | {"ibp": L2})
    draw(name, tmp_path, table_of(name))
    titles = [[title for axes in figure.axes if (title := axes.get_title())] for figure in drawn]
    assert titles == [["adversarial (linf 0.1)", "ibp (l2 0.5)"], ["adversarial", "ibp"]]


@pytest.mark.parametrize(("norm", "reach"), [("l2", 0.2), ("linf", 1.0)])
def test_only_radii_of_one_norm_share_an_axis(norm, reach, drawn, tmp_path):
    table = table_of("security")
    table["eps"] = table["eps"].where(table["objective"] == "adversarial", 5 * table["eps"])
    draw("security", tmp_path, table, threats=SPEC["threats"] | {"ibp": {"norm": norm, "eps": 0.5}})
    (low, high), (_, other) = (axes.get_xlim() for axes in drawn[0].axes[:2])
    assert low == 0
    assert (high, other) == (pytest.approx(reach, rel=0.1), pytest.approx(1.0, rel=0.1))


def test_unstable_relus_are_counted_over_all_layers(drawn, tmp_path):
    draw("stability", tmp_path, table_of("stability", methods=("lwm",)))
    lines = [list(np.round(np.asarray(line.get_ydata(), dtype=float), 6)) for line in drawn[0].axes[0].get_lines()]
    assert [20.0, 4.0] in lines


def test_benign_era_and_vra_start_at_the_dense_network(drawn, tmp_path):
    draw("robustness", tmp_path, table_of("robustness", methods=("lwm",)))
    lines = [
        list(np.round(np.asarray(line.get_ydata(), dtype=float), 6))
        for line in drawn[0].axes[0].get_lines()
        if len(line.get_ydata()) == 3
    ]
    assert [90.0, 90.0, 90.0] in lines
    assert [30.0, 50.0, 66.0] in lines


def in_a_study(folder, failed):
    """The place of a figure of a study in whose summary.csv every network of `failed` objectives has failed."""
    place = folder / "figures"
    place.mkdir(parents=True)
    rows = [who | {"failed": "no" if who["objective"] in failed else None} for who in networks()]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    return place


NO_RELU = "these networks have no ReLU, and no other activation is counted"


@pytest.mark.parametrize(("failed", "words"), [([], NO_RELU), (["ibp"], "no network has a result")])
def test_where_no_relu_was_counted_stability_says_why_and_draws_no_axes(failed, words, drawn, tmp_path):
    place = in_a_study(tmp_path, failed)
    table = table_of("stability")
    table = table[table["objective"] != "ibp"]
    spec = {key: value for key, value in SPEC.items() if key != "measured"}
    files = tmp_path / "stability.csv", place / "stability.svg", place / "stability.png"
    table.to_csv(files[0], index=False)
    draw_stability(*files, spec)
    shown, hidden = drawn[0].axes[0], [drawn[0].axes[1], drawn[0].axes[3]]
    assert shown.axison
    assert [axes.axison for axes in hidden] == [False, False]
    assert " ".join(hidden[0].texts[0].get_text().split()) == words
    table.iloc[:0].to_csv(files[0], index=False)
    draw_stability(*files, spec)
    assert drawn[1].axes == []
    assert f"ibp: {words}" in [text.get_text().splitlines()[-1] for text in drawn[1].texts]


def test_bars_of_decisions_are_told_apart_without_colour_and_those_of_one_class_are_crossed_out(drawn, tmp_path):
    place = tmp_path / "figures"
    place.mkdir()
    rows = [who | {"failed": None, "constant": (who["method"], who["ratio"]) == ("lwm", 0.9)} for who in networks()]
    pd.DataFrame(rows).to_csv(tmp_path / "summary.csv", index=False)
    table_of("decisions").to_csv(tmp_path / "decisions.csv", index=False)
    draw_decisions(tmp_path / "decisions.csv", place / "a.svg", place / "a.png", SPEC)
    axes = drawn[0].axes[0]
    assert len({bars[0].get_hatch() for bars in axes.containers}) == len(axes.containers)
    (cross,) = [line for line in axes.lines if line.get_label() == style.CONSTANT]
    names = dict(zip(axes.get_yticks(), [text.get_text() for text in axes.get_yticklabels()], strict=True))
    assert [names[height] for height in cross.get_ydata()] == ["lwm 0.9"]
    assert axes.get_xlabel() == "adversarial: % of 100 images"
