"""Figures, from small made-up results."""

from itertools import pairwise, product
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sparrow.results.figures import style
from sparrow.results.figures.accuracy import draw_accuracy
from sparrow.results.figures.bytes import draw_bytes
from sparrow.results.figures.curves import draw_curves
from sparrow.results.figures.preservation import draw_preservation
from sparrow.results.figures.ranking import draw_ranking
from sparrow.results.figures.recall import draw_recall
from sparrow.results.figures.sparsity import draw_sparsity
from sparrow.results.figures.traces import draw_traces
from sparrow.results.looks import standing_out
from sparrow.results.specs.figures import FigureSpec
from sparrow.results.statistics import mean_over_seeds

# Two of everything where a figure could confuse them.
OF = {"dataset": "digits", "model": "cnn-small", "code": "test"}
LOOKED_AT = {"stage": "finetuned"}
STUDY = {"objectives": ["benign", "trades"], "methods": ["lwm", "hydra"], "ratios": [0.5, 0.99], "seeds": [0]}


def networks(study):
    """Who the networks of a study are, dense ones first."""
    for objective, seed in product(study["objectives"], study["seeds"]):
        yield {"objective": objective, "method": "dense", "ratio": 0.0, "seed": seed, "stage": "dense"}
        for method, ratio in product(study["methods"], study["ratios"]):
            yield {"objective": objective, "method": method, "ratio": ratio, "seed": seed, "stage": "finetuned", "code": "test"}


def granularity(method):
    return "" if method == "dense" else "filter" if method.endswith("-filter") else "weight"


def summary(study, nothing_preserved=False, constant=()):
    """`constant` names methods whose networks answer with one class."""
    rows = []
    for who in networks(study):
        line = {"dataset": "digits", "model": "cnn-small", **who, "granularity": granularity(who["method"])}
        line |= {
            "constant": who["method"] in constant,
            "sparsity_prunable": who["ratio"],
            "sparsity_all": who["ratio"] / 2,
            "nonzero": 12345,
        }
        for metric in ("benign", "era", "vra"):
            value = 0.9 - 0.5 * who["ratio"] + 0.01 * who["seed"]
            line |= {metric: value, f"{metric}_low": value - 0.05, f"{metric}_high": value + 0.05, f"{metric}_n": 360}
            kept = np.nan if nothing_preserved else value / 0.9
            line |= dict.fromkeys((f"preserved_{metric}{end}" for end in ("", "_low", "_high")), kept)
        rows.append(line)
    return pd.DataFrame(rows)


def layers(study):
    rows = [
        {"dataset": "digits", "model": "cnn-small", **who, "layer": layer, "sparsity": who["ratio"]}
        for who in networks(study)
        for layer in ("0.weight", "2.weight")
    ]
    return pd.DataFrame(rows)


def ranking(study):
    """The methods in the study's order; the last one is behind by more than the noise."""
    rows = [
        {
            "dataset": "digits",
            "model": "cnn-small",
            "objective": objective,
            "stage": "finetuned",
            "ratio": ratio,
            "granularity": granularity(method),
            "metric": metric,
            "rank": place,
            "method": method,
            "seeds": len(study["seeds"]),
            "mean": 0.9 - 0.01 * place,
            "low": 0.8 - 0.01 * place,
            "high": 0.95 - 0.01 * place,
            "verdict": "best" if place == 1 else "worse" if place == len(study["methods"]) else "within the noise",
        }
        for objective, metric, ratio in product(study["objectives"], ("era", "vra"), study["ratios"])
        for place, method in enumerate(study["methods"], start=1)
    ]
    return pd.DataFrame(rows)


def recall(study, lost=(), dense=True):
    """Two classes, 0.1 above and below the mean of the dense network; twice that in the pruned ones.

    `lost` names the methods whose networks no image of class 1 was shown to.
    """
    rows = []
    for who, label in product(networks(study), (0, 1)):
        away = (0.1 if who["method"] == "dense" else 0.2) * (1 - 2 * label)
        value = np.nan if who["method"] in lost and label else 0.6 + away
        line = {"dataset": "digits", "model": "cnn-small", **who, "class": label}
        for metric, recalled in (("benign", value), ("era", value / 2), ("vra", 0.0)):
            line |= {f"recall_{metric}": recalled, f"recall_{metric}_n": 50}
        rows.append(line)
    table = pd.DataFrame(rows)
    return table if dense else table[table["stage"] != "dense"]


def draw_from_recalls(study, folder, threats=None, slopes=True, **options):
    """Draws recall and intensification: 2, from 1.5 to 3, at every ratio."""
    sources = [folder / "recall.csv", folder / "intensification.csv", folder / "summary.csv"]
    summary(study).to_csv(sources[2], index=False)
    recall(study, **options).to_csv(sources[0], index=False)
    cells = product(study["objectives"], study["methods"], study["ratios"], ("benign", "era"))
    line = {"dataset": "digits", "model": "cnn-small", "stage": "finetuned", "intensification": 2.0, "low": 1.5, "high": 3.0}
    rows = [line | dict(zip(("objective", "method", "ratio", "metric"), cell, strict=True)) for cell in cells]
    table = pd.DataFrame(rows, columns=[*line, "objective", "method", "ratio", "metric"])
    if not slopes:
        table[["intensification", "low", "high"]] = np.nan
    table.to_csv(sources[1], index=False)
    spec = OF | {"objectives": study["objectives"], "stage": "finetuned"}
    spec["threats"] = {objective: {"norm": "linf", "eps": 0.1} for objective in study["objectives"]} | (threats or {})
    draw_recall(sources, folder / "figure.svg", folder / "figure.png", spec)


def draw_from_table(draw, table):
    """Draws a figure whose source is one CSV file."""

    def draw_it(study, folder, threats=None, measured=("era", "vra"), **options):
        source = folder / "table.csv"
        table(study, **options).to_csv(source, index=False)
        spec = {
            "dataset": "digits",
            "model": "cnn-small",
            "objectives": study["objectives"],
            "stage": "finetuned",
            "code": "test",
        }
        spec["threats"] = {objective: {"norm": "linf", "eps": 0.1} for objective in study["objectives"]} | (threats or {})
        if draw is draw_preservation:
            spec["measured"] = dict.fromkeys(study["objectives"], measured)
        if draw is draw_sparsity:
            summary(study).to_csv(folder / "summary.csv", index=False)
            source = [source, folder / "summary.csv"]
        draw(source, folder / "figure.svg", folder / "figure.png", spec)

    return draw_it


def draw_from_curves(study, folder):
    """Draws the learning curves; methods that do not learn have a file with a header alone."""
    runs, sources = [], []
    for who in networks(study):
        for stage in ("dense",) if who["method"] == "dense" else ("pruned", "finetuned"):
            epochs = 0 if (who["method"], stage) == ("lwm", "pruned") else 3
            table = pd.DataFrame({"epoch": range(1, epochs + 1), "validation_loss": 0.5, "validation_benign": 0.9})
            sources.append(folder / f"{len(sources)}.csv")
            table.to_csv(sources[-1], index=False)
            runs.append({**who, "stage": stage})
    spec = OF | LOOKED_AT | {"objectives": study["objectives"], "runs": runs}
    draw_curves(sources, folder / "figure.svg", folder / "figure.png", spec)


def draw_from_traces(study, folder):
    """Draws what the methods log; of two quantities, the first is the ratio."""
    runs, sources = [], []
    for who in networks(study):
        if who["method"] != "dense":
            rows = [(epoch, name, who["ratio"] * epoch) for epoch in (1, 2) for name in ("first", "second")]
            sources.append(folder / f"{len(sources)}.csv")
            pd.DataFrame(rows, columns=["epoch", "name", "value"]).to_csv(sources[-1], index=False)
            runs.append({**who, "stage": "pruned"})
    spec = OF | LOOKED_AT | {"objectives": study["objectives"], "runs": runs}
    draw_traces(sources, folder / "figure.svg", folder / "figure.png", spec)


FIGURES = {
    "accuracy": draw_from_table(draw_accuracy, summary),
    "preservation": draw_from_table(draw_preservation, summary),
    "sparsity": draw_from_table(draw_sparsity, layers),
    "ranking": draw_from_table(draw_ranking, ranking),
    "recall": draw_from_recalls,
    "curves": draw_from_curves,
    "traces": draw_from_traces,
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def assert_both_are_pictures(folder):
    assert ElementTree.parse(folder / "figure.svg").getroot().tag.endswith("svg")
    with Image.open(folder / "figure.png") as picture:
        # More than one colour: there is something to be seen.
        assert len(picture.convert("RGB").getcolors(2**24)) > 2


@every_figure
@pytest.mark.parametrize(
    "study",
    [
        STUDY | {"seeds": [0, 1, 2], "objectives": ["benign"]},
        STUDY | {"ratios": [0.9], "objectives": ["benign"], "methods": ["lwm"]},
    ],
    ids=["three seeds", "one of everything"],
)
def test_a_study_of_another_size_is_drawn(draw, study, tmp_path):
    draw(study, tmp_path)
    assert_both_are_pictures(tmp_path)


@pytest.mark.parametrize(("draw", "table"), [(draw_sparsity, layers), (draw_ranking, ranking)], ids=["sparsity", "ranking"])
def test_where_every_pruned_network_failed_the_figure_says_so(draw, table, tmp_path, monkeypatch):
    axes = drawn_axes(draw_from_table(draw, lambda study: table(study).iloc[:0]), STUDY, tmp_path, monkeypatch)
    assert axes
    assert all("no network has a result" in [text.get_text() for text in panel.texts] for panel in axes)


@every_figure
def test_a_figure_drawn_twice_is_the_same_to_the_byte(draw, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(STUDY, tmp_path / name)
    assert_both_are_pictures(tmp_path / "one")
    for file in ("figure.svg", "figure.png", "figure.pdf"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("seeds", [[0], [0, 1]], ids=["one seed", "two seeds"])
def test_nothing_preserved_is_drawn(seeds, tmp_path):
    study = STUDY | {"objectives": ["benign"], "seeds": seeds}
    FIGURES["preservation"](study, tmp_path, nothing_preserved=True)
    assert_both_are_pictures(tmp_path)


@pytest.mark.parametrize("options", [{"lost": ["hydra"]}, {"lost": ["hydra", "dense"]}, {"dense": False}], ids=str)
@pytest.mark.parametrize("seeds", [[0], [0, 1]], ids=["one seed", "two seeds"])
def test_a_recall_that_is_not_there_does_not_stop_the_figure(options, seeds, tmp_path):
    FIGURES["recall"](STUDY | {"seeds": seeds}, tmp_path, **options)
    assert_both_are_pictures(tmp_path)


def drawn(draw, study, folder, monkeypatch):
    """A figure, caught on its way to the file."""
    caught = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: caught.append(figure))
    draw(study, folder)
    style.plt.close(caught[0])
    return caught[0]


def drawn_axes(draw, study, folder, monkeypatch):
    """The axes of a figure."""
    return drawn(draw, study, folder, monkeypatch).axes


def test_an_accuracy_is_drawn_where_it_is(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["accuracy"], STUDY, tmp_path, monkeypatch)[0]
    (line,) = (container[0] for container in axes.containers if container.get_label() == "hydra")
    assert line.get_xydata() == pytest.approx(np.array([[np.log10(2), 65.0], [2, 40.5]]))


def test_the_dense_accuracy_is_a_dashed_line(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["accuracy"], STUDY, tmp_path, monkeypatch)[0]
    (line,) = (line for line in axes.lines if line.get_label() == "dense")
    assert list(line.get_ydata()) == [90, 90]


def test_a_bar_is_as_high_as_what_is_preserved(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["preservation"], STUDY, tmp_path, monkeypatch)[0]
    assert sorted(bar.get_height() for bar in axes.patches) == pytest.approx([45, 45, 100 * 0.65 / 0.9, 100 * 0.65 / 0.9])


def test_where_nothing_is_preserved_the_figure_says_so(tmp_path, monkeypatch):
    def draw(study, folder):
        FIGURES["preservation"](study, folder, nothing_preserved=True)

    axes = drawn_axes(draw, STUDY, tmp_path, monkeypatch)[0]
    assert [text.get_text() for text in axes.texts] == ["nothing to preserve"]


@pytest.mark.parametrize(
    ("measured", "words"),
    [(["era"], ["nothing to preserve", "not verified"]), (["vra"], ["not attacked", "nothing to preserve"])],
)
def test_what_was_not_measured_is_not_called_lost(measured, words, tmp_path, monkeypatch):
    def draw(study, folder):
        FIGURES["preservation"](study, folder, measured=measured, nothing_preserved=True)

    axes = drawn_axes(draw, STUDY | {"objectives": ["benign"]}, tmp_path, monkeypatch)
    assert [text.get_text() for one in axes for text in one.texts] == ["nothing to preserve", *words]


def test_the_share_kept_in_each_layer_is_drawn(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["sparsity"], STUDY, tmp_path, monkeypatch)[1]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([1, 1])


def layers_drawn(kept, folder, monkeypatch):
    """The panel of methods that keep these shares of the weights of two layers."""

    def table(study):
        rows = layers(study)
        rows = rows[rows["method"] != "dense"]
        places = rows["layer"].map({"0.weight": 0, "2.weight": 1})
        return rows.assign(sparsity=[1 - kept[method][place] for method, place in zip(rows["method"], places, strict=True)])

    study = STUDY | {"objectives": ["benign"], "ratios": [0.9], "methods": list(kept)}
    return drawn_axes(draw_from_table(draw_sparsity, table), study, folder, monkeypatch)[0]


def test_a_layer_without_weights_is_on_the_bottom_line(tmp_path, monkeypatch):
    axes = layers_drawn({"hydra": (0.0, 0.2), "lwm": (0.1, 0.1)}, tmp_path, monkeypatch)
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xydata().tolist() for line in hollow] == [[[pytest.approx(-0.06), 0.0]]]


def test_shares_that_are_nearly_equal_look_so(tmp_path, monkeypatch):
    low, high = layers_drawn({"hydra": (0.1, 0.1), "lwm": (0.11, 0.1)}, tmp_path, monkeypatch).get_ylim()
    assert high == pytest.approx(10 * low)
    assert low < 10 < 11 < high


def test_a_panel_of_networks_that_failed_says_so(tmp_path, monkeypatch):
    draw = draw_from_table(draw_ranking, lambda study: ranking(study).query("objective == 'benign'"))
    figure = drawn(draw, STUDY, tmp_path, monkeypatch)
    style.say_what_is_empty(figure)
    said = {axes.get_title(): [text.get_text() for text in axes.texts] for axes in figure.axes}
    assert {title.partition(",")[0] for title in said} == {"benign", "trades"}
    assert all(words == (["no result"] if title.startswith("trades") else []) for title, words in said.items())


def test_a_line_across_a_panel_is_no_result():
    figure, (dense, threat, drawn_one) = style.plt.subplots(1, 3)
    dense.axhline(90)
    threat.axvline(0.1)
    drawn_one.plot([1], [2])
    style.say_what_is_empty(figure)
    assert [bool(axes.texts) for axes in figure.axes] == [True, True, False]
    style.plt.close(figure)


@pytest.mark.parametrize(("name", "table"), [("accuracy", summary), ("ranking", ranking)])
def test_only_panels_without_a_point_are_said_to_be_empty(name, table, tmp_path, monkeypatch):
    def made(study):
        rows = table(study)
        metrics = [name for name in rows if name.startswith(("benign", "era", "vra", "mean", "low", "high"))]
        return rows.assign(**{name: rows[name].mask(rows["objective"] == "trades") for name in metrics})

    draw = draw_from_table({"accuracy": draw_accuracy, "ranking": draw_ranking}[name], made)
    figure = drawn(draw, STUDY, tmp_path, monkeypatch)
    style.say_what_is_empty(figure)
    assert sum(bool(axes.texts) for axes in figure.axes) == len(figure.axes) / 2


def test_equals_are_ranked_in_the_order_of_the_table(tmp_path, monkeypatch):
    methods = ["c", "a", "d", "b"]
    draw = draw_from_table(draw_ranking, lambda study: ranking(study).assign(rank=1))
    axes = drawn_axes(draw, STUDY | {"methods": methods}, tmp_path, monkeypatch)[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == methods[::-1]


def test_of_one_ratio_what_does_not_stand_out_is_a_mark():
    looks = looks_of([f"m{number}" for number in range(9)])
    faint = next(method for method in looks.every if not looks.stands_out(method))
    assert looks.line(faint, 1)["marker"] == "."
    assert looks.line(faint, 2)["marker"] == "none"


def test_a_method_that_does_not_learn_has_no_curve_of_pruning(tmp_path, monkeypatch):
    study = STUDY | {"methods": ["lwm"], "objectives": ["benign"]}
    axes = drawn_axes(draw_from_curves, study, tmp_path, monkeypatch)
    # Rows: loss and benign accuracy of pre-training, of pruning, of fine-tuning.
    assert [len(axes[row].lines) for row in (3, 5)] == [0, 2]


FILTERS = STUDY | {"methods": ["lwm", "hydra-filter"], "ratios": [0.5], "objectives": ["benign"]}


@pytest.mark.parametrize("name", ["accuracy", "preservation"])
def test_a_method_that_removes_filters_says_so(name, tmp_path, monkeypatch):
    (legend,) = drawn(FIGURES[name], FILTERS, tmp_path, monkeypatch).legends
    assert {text.get_text() for text in legend.get_texts()} - {"dense"} == {"lwm", "hydra-filter (filters)"}


def test_filters_are_ranked_by_themselves(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["ranking"], FILTERS, tmp_path, monkeypatch)
    panels = [(one.get_title(), [label.get_text() for label in one.get_yticklabels()]) for one in axes]
    assert panels[:2] == [("benign, era, 0.5 of filters", ["hydra-filter"]), ("benign, era, 0.5", ["lwm"])]


OTHER_THREATS = {"trades": {"norm": "l2", "eps": 0.5}}


@pytest.mark.parametrize("name", ["accuracy", "preservation", "recall"])
def test_threats_that_differ_are_in_the_titles(name, tmp_path, monkeypatch):
    def draw(study, folder):
        FIGURES[name](study, folder, threats=OTHER_THREATS)

    titles = [axes.get_title() for axes in drawn_axes(draw, STUDY, tmp_path, monkeypatch)]
    assert titles[:2] == ["benign (linf 0.1)", "trades (l2 0.5)"]


def test_a_ranking_names_a_threat_in_a_line_of_its_own(tmp_path, monkeypatch):
    def draw(study, folder):
        FIGURES["ranking"](study, folder, threats=OTHER_THREATS)

    titles = [axes.get_title() for axes in drawn_axes(draw, STUDY | {"ratios": [0.5]}, tmp_path, monkeypatch)]
    assert titles == [f"{one}\n{metric}, 0.5" for one in ("benign (linf 0.1)", "trades (l2 0.5)") for metric in ("era", "vra")]


@pytest.mark.parametrize("name", ["accuracy", "preservation", "recall"])
def test_one_threat_is_in_no_title(name, tmp_path, monkeypatch):
    titles = [axes.get_title() for axes in drawn_axes(FIGURES[name], STUDY, tmp_path, monkeypatch)]
    assert titles[:2] == ["benign", "trades"]


def looks_of(methods):
    networks = pd.DataFrame({"method": methods})
    return style.Looks(standing_out(networks), frozenset(methods))


def points(axes):
    """Where the points of a ranking are, and how they are filled, from the bottom up."""
    lines = [container[0] for container in axes.containers]
    return [(*line.get_xydata()[0].tolist(), line.get_markerfacecolor()) for line in lines]


def test_the_best_method_is_the_topmost(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["ranking"], STUDY, tmp_path, monkeypatch)[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hydra", "lwm"]
    assert [point[:2] for point in points(axes)] == [pytest.approx((88, 0)), pytest.approx((89, 1))]


def test_what_is_worse_than_the_best_is_hollow(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["ranking"], STUDY, tmp_path, monkeypatch)[0]
    assert [point[2] for point in points(axes)] == ["none", looks_of(STUDY["methods"]).of("lwm")["color"]]


def test_every_objective_metric_and_ratio_has_a_ranking(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["ranking"], STUDY, tmp_path, monkeypatch)
    assert [one.get_title() for one in axes] == [
        f"{objective}, {metric}, {ratio:g}"
        for objective, metric, ratio in product(STUDY["objectives"], ("era", "vra"), STUDY["ratios"])
    ]


def labelled(axes, label):
    (line,) = (line for line in axes.lines if line.get_label() == label)
    return line


def test_intensification_is_drawn_with_its_interval_at_every_ratio(tmp_path, monkeypatch):
    # Rows: classes and intensification of benign accuracy, then of era; two objectives.
    axes = drawn_axes(FIGURES["recall"], STUDY, tmp_path, monkeypatch)
    for panel in (axes[2], axes[3], axes[6], axes[7]):
        (bars,) = (one for one in panel.containers if one.get_label() == "lwm")
        assert bars[0].get_xydata() == pytest.approx(np.array([[np.log10(2), 2.0], [2, 2.0]]))
        assert [segment[:, 1].tolist() for segment in bars[2][0].get_segments()] == [pytest.approx([1.5, 3.0])] * 2


def test_where_no_intensification_can_be_told_the_figure_says_so(tmp_path, monkeypatch):
    axes = drawn_axes(lambda study, folder: FIGURES["recall"](study, folder, slopes=False), STUDY, tmp_path, monkeypatch)
    for panel in (axes[2], axes[3], axes[6], axes[7]):
        assert [text.get_text() for text in panel.texts] == ["classes differ by\nno more than noise"]


def test_every_class_is_a_point_against_its_dense_networks(tmp_path, monkeypatch):
    study = STUDY | {"methods": ["lwm"], "objectives": ["benign"]}
    axes = drawn_axes(FIGURES["recall"], study, tmp_path, monkeypatch)
    # In points from the mean over the classes; the other line is the diagonal. Only the middle one of the ratios is shown.
    (line,) = (line for line in axes[0].lines if line.get_linestyle() == "None")
    assert line.get_xydata() == pytest.approx(np.array([[10, 20], [-10, -20]]))
    (line,) = (line for line in axes[2].lines if line.get_linestyle() == "None")
    assert line.get_xydata() == pytest.approx(np.array([[5, 10], [-5, -10]]))


@pytest.mark.parametrize("name", ["accuracy", "preservation"])
def test_networks_that_answer_with_one_class_are_crossed_out(name, tmp_path, monkeypatch):
    draw = {"accuracy": draw_accuracy, "preservation": draw_preservation}[name]
    study = STUDY | {"methods": ["lwm", "random"]}
    drawn = drawn_axes(lambda *one: draw_from_table(draw, summary)(*one, constant=["random"]), study, tmp_path, monkeypatch)
    for axes in drawn:
        # Both ratios of one of the two methods.
        assert len(labelled(axes, style.CONSTANT).get_xydata()) == 2


def test_the_legend_says_what_a_cross_is(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(style, "write", lambda figure, *_: figures.append(figure))
    for constant in (["random"], []):
        draw_from_table(draw_accuracy, summary)(STUDY | {"methods": ["random"]}, tmp_path, constant=constant)
    shown = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in figures]
    assert [style.CONSTANT in names for names in shown] == [True, False]


def test_what_has_no_rank_is_crossed_out_below_the_others(tmp_path, monkeypatch):
    def marked(study):
        table = ranking(study)
        return table.assign(
            rank=table["rank"].where(table["method"] != "lwm"),
            verdict=table["verdict"].where(table["method"] != "lwm", "constant"),
        )

    axes = drawn_axes(draw_from_table(draw_ranking, marked), STUDY, tmp_path, monkeypatch)[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lwm", "hydra"]
    assert labelled(axes, style.CONSTANT).get_xydata() == pytest.approx(np.array([[89, 0]]))


def test_traces_are_those_of_the_highest_ratio(tmp_path, monkeypatch):
    axes = drawn_axes(draw_from_traces, STUDY | {"seeds": [0, 1]}, tmp_path, monkeypatch)
    # A row for each method, a column for each objective.
    assert len(axes) == 4
    for panel in axes:
        assert [line.get_label() for line in panel.lines] == ["first", "second"]
        assert panel.lines[0].get_xydata() == pytest.approx(np.array([[1, 0.99], [2, 1.98]]))


@pytest.mark.parametrize(
    ("ratios", "middle"),
    [
        ({"lwm": [0.5, 0.9, 0.99], "hydra": [0.5, 0.9, 0.99]}, 0.9),
        ({"lwm": [0.9], "hydra": [0.9], "2:4": [0.5]}, 0.9),
        ({"lwm": [0.9, 0.95], "hydra": [0.9, 0.95], "2:4": [0.5]}, 0.9),
        ({"lwm": [0.9], "2:4": [0.5]}, 0.5),
        ({}, None),
    ],
)
def test_more_is_shown_of_methods_at_a_ratio_that_most_of_them_have(ratios, middle):
    rows = [{"method": method, "ratio": ratio} for method, own in ratios.items() for ratio in own]
    assert style.middle_ratio(pd.DataFrame(rows, columns=["method", "ratio"])) == middle


def test_an_axis_from_zero_leaves_room_for_the_marker_of_the_highest_point():
    figure, grid = style.panels(1, 2, sharey=True)
    grid[0, 1].plot([0, 1], [118, 122])
    style.from_zero(grid[0, 0])
    low, high = grid[0, 1].get_ylim()
    assert low == 0
    assert high > 1.04 * 122
    style.plt.close(figure)


@pytest.mark.parametrize(
    ("counts", "words"), [([100, 0, 100], "100 images"), ([60, 0, 100], "60 to 100 images"), ([0, 0], "0 images")]
)
def test_networks_that_failed_are_no_panel_of_no_images(counts, words):
    assert style.images(pd.Series(counts)) == words


def test_the_axis_of_one_ratio_is_around_it_where_nothing_is_drawn():
    figure, grid = style.panels(1, 1)
    grid[0, 0].axhline(0.5)
    style.compression_axis(grid[0, 0], [0.5])
    left, right = grid[0, 0].get_xlim()
    assert left < style.position(0.5) < right
    assert (left + right) / 2 == pytest.approx(style.position(0.5))
    style.plt.close(figure)


def test_with_one_seed_an_interval_is_that_over_images():
    table = summary(STUDY | {"objectives": ["benign"], "methods": ["lwm"], "ratios": [0.5]}).query("stage == 'finetuned'")
    assert style.over_seeds(table, "era").loc[0.5].tolist() == pytest.approx([0.65, 0.6, 0.7])


def test_with_several_seeds_an_interval_is_that_over_seeds():
    study = STUDY | {"objectives": ["benign"], "methods": ["lwm"], "ratios": [0.5], "seeds": [0, 1, 2]}
    table = summary(study).query("stage == 'finetuned'")
    assert style.over_seeds(table, "era").loc[0.5].tolist() == pytest.approx(mean_over_seeds(np.array([0.65, 0.66, 0.67])))


def test_a_value_without_an_interval_has_no_error_bar():
    points = pd.DataFrame({"mean": [0.5], "low": [np.nan], "high": [np.nan]})
    assert style.error_bars(points).tolist() == [[0], [0]]


@pytest.mark.parametrize("count", [7, 9, 15, 64])
def test_methods_that_stand_out_differ_by_colour_alone_and_by_marker_alone(count):
    looks = looks_of([*(f"method-{number:02d}" for number in range(count - 1)), "random"])
    looked = [looks.of(method) for method in looks.named]
    assert [len({look[key] for look in looked}) for key in ("color", "marker")] == [7 if count == 7 else 6] * 2
    assert looks.many == (count > 7)
    assert "random" in looks.named


def test_a_method_looks_the_same_in_figures_of_all_data_sets_and_with_what_it_removes_behind_its_name(tmp_path):
    study = MANY | {"objectives": ["benign"], "ratios": [0.5]}
    here, there = summary(study), summary(study).assign(dataset="other")
    # Over there other methods are the best, and one has no network.
    there["era"] = there["era"].to_numpy()[::-1]
    there = there[there["method"] != "method-00"]
    (tmp_path / "figures").mkdir()
    pd.concat([here, there]).to_csv(tmp_path / "summary.csv", index=False)
    spec = FigureSpec(**OF, objectives=["benign"], stage="finetuned", threats={})
    one, other = (style.looks(tmp_path / f"figures/{name}.svg", spec, table) for name, table in (("a", here), ("b", there)))
    assert one == other
    assert one.many
    assert one.of("random") == one.of("random (filters)")


def test_what_stands_out_is_told_by_the_figures_table_where_no_summary_lies_beside_it(tmp_path):
    spec = FigureSpec(**OF, objectives=["benign"], stage="finetuned", threats={})
    looks = style.looks(tmp_path / "figures/a.svg", spec, summary(STUDY))
    assert looks.named == ["hydra", "lwm"]
    assert not looks.many


def test_stages_have_an_axis_of_epochs_each(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["curves"], STUDY | {"objectives": ["benign"]}, tmp_path, monkeypatch)
    assert [one.get_xlabel() for one in axes] == ["", "epoch"] * 3
    assert all(loss.get_shared_x_axes().joined(loss, benign) for loss, benign in zip(axes[::2], axes[1::2], strict=True))


# Those of the study of all methods, and two more.
LABELS = [
    *("random", "lwm", "lwm-global", "lwm-erk", "lwm-lamp", "lwm-iterative", "snip", "admm", "deadwooding"),
    *("hydra", "hydra-s2ap", "harp", "harp-s2ap", "snip-layerwise", "admm-lamp"),
]


def laid_out(draw, labels, folder, monkeypatch, ratios=(0.9,)):
    """A figure in its narrowest form, after the layout."""
    study = STUDY | {"methods": labels, "objectives": ["benign"], "ratios": list(ratios)}
    figure = drawn(draw, study, folder, monkeypatch)
    figure.draw_without_rendering()
    return figure


def inside(figure, artist):
    box, whole = artist.get_window_extent(), figure.bbox
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1


def has_its_place(figure):
    """Whether the one legend lies inside the figure and below everything else."""
    (legend,) = figure.legends
    above = min(axes.get_tightbbox().y0 for axes in figure.axes)
    return inside(figure, legend) and legend.get_window_extent().y1 <= above


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@pytest.mark.parametrize(
    ("name", "count", "ratios"),
    [
        *((name, count, 1) for name in ("accuracy", "preservation", "recall", "curves") for count in (1, 3, 15)),
        ("sparsity", 1, 1),
        ("sparsity", 3, 1),
        ("sparsity", 13, 3),
        ("sparsity", 13, 2),
        ("sparsity", 15, 1),
    ],
)
def test_a_legend_lies_inside_its_figure_and_below_the_panels(name, count, ratios, tmp_path, monkeypatch):
    figure = laid_out(FIGURES[name], LABELS[:count], tmp_path, monkeypatch, [0.9, 0.95, 0.99][:ratios])
    assert has_its_place(figure)


@pytest.mark.parametrize("name", ["accuracy", "preservation", "sparsity", "recall", "curves"])
def test_a_legend_names_every_method_once(name, tmp_path, monkeypatch):
    (legend,) = laid_out(FIGURES[name], LABELS[:3], tmp_path, monkeypatch).legends
    assert sorted(text.get_text() for text in legend.get_texts() if text.get_text() != "dense") == sorted(LABELS[:3])


@pytest.mark.parametrize("count", [1, 3, 15])
def test_the_names_of_a_ranking_lie_inside_its_figure(count, tmp_path, monkeypatch):
    figure = laid_out(FIGURES["ranking"], LABELS[:count], tmp_path, monkeypatch)
    names = figure.axes[0].get_yticklabels()
    assert len(names) == count
    assert all(inside(figure, name) for name in names)


@pytest.mark.parametrize("count", [1, 3])
def test_the_legends_of_traces_lie_inside_their_figure(count, tmp_path, monkeypatch):
    figure = laid_out(draw_from_traces, LABELS[:count], tmp_path, monkeypatch)
    legends = [axes.get_legend() for axes in figure.axes]
    assert len(legends) == count
    assert all(inside(figure, legend) for legend in legends)


MANY = STUDY | {"methods": [f"method-{number:02d}" for number in range(11)] + ["random"], "objectives": ["benign"]}


@pytest.mark.parametrize("name", ["accuracy", "sparsity", "recall", "curves"])
def test_of_many_methods_the_best_and_random_pruning_have_a_colour_and_the_others_are_grey(name, tmp_path, monkeypatch):
    figure = drawn(FIGURES[name], MANY, tmp_path, monkeypatch)
    (legend,) = figure.legends
    told = {text.get_text() for text in legend.get_texts()} - {"dense"}
    assert told == {*MANY["methods"][:5], "random", "all others"}


def test_the_names_of_many_methods_stand_behind_their_lines_apart_and_inside_the_figure(tmp_path, monkeypatch):
    figure = laid_out(FIGURES["accuracy"], MANY["methods"], tmp_path, monkeypatch)
    names = [text for text in figure.axes[0].texts if text.get_text()]
    assert {text.get_text() for text in names} == {*MANY["methods"][:5], "random"}
    assert all(inside(figure, text) for text in names)
    heights = sorted(text.xyann[1] for text in names)
    assert all(above - below > 0.08 for below, above in pairwise(heights))


def test_many_methods_are_preserved_on_a_line_each(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["preservation"], MANY, tmp_path, monkeypatch)
    assert [text.get_text() for text in axes[0].get_yticklabels()] == sorted(MANY["methods"], reverse=True)
    assert not any(one.patches for one in axes)
    assert [one.get_title() for one in axes] == [f"benign: preserved {metric}" for metric in ("benign", "era", "vra")]


def test_bars_are_told_apart_without_colour(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["preservation"], STUDY, tmp_path, monkeypatch)[0]
    assert len({bar.get_hatch() for bar in axes.patches}) == len(STUDY["methods"])


def test_a_vra_by_fewer_verifiers_than_others_is_a_gap(tmp_path, monkeypatch):
    def partly(study):
        table = summary(study)
        return table.assign(vra_without=table["method"].map({"lwm": "crown"}))

    axes = drawn_axes(draw_from_table(draw_accuracy, partly), STUDY | {"objectives": ["benign"]}, tmp_path, monkeypatch)
    _, era, vra = ({one.get_label(): len(one[0].get_ydata()) for one in panel.containers} for panel in axes)
    assert era == {"hydra": 2, "lwm": 2}
    assert vra == {"hydra": 2, "lwm": 0}


def rounded(study):
    """The summary of a study with a variant, whose networks take a quarter of the bytes."""
    plain = summary(study).assign(bits=32.0, index_bytes=100.0, other_bytes=100.0, failed=None)
    plain["weight_bytes"] = 1e5 * (1 - plain["ratio"])
    int8 = plain.assign(stage=plain["stage"] + "+int8", bits=8.0, weight_bytes=plain["weight_bytes"] / 4)
    return pd.concat([plain, int8])


def test_variants_of_a_few_methods_are_told_apart_by_their_lines(tmp_path, monkeypatch):
    figure = drawn(draw_from_table(draw_bytes, rounded), STUDY | {"objectives": ["benign"]}, tmp_path, monkeypatch)
    assert len(figure.axes) == 2
    kinds = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if line.get_label() in BITS}
    assert kinds == {("#0072B2", "-"), ("#D55E00", "--")}


BITS = ("not rounded", "int8 (8 bits)")


def test_variants_of_many_methods_have_panels_of_their_own_in_which_the_best_have_their_colours(tmp_path, monkeypatch):
    figure = drawn(draw_from_table(draw_bytes, rounded), MANY, tmp_path, monkeypatch)
    rows = [(metric, variant) for metric in ("era", "vra") for variant in BITS]
    assert [axes.get_ylabel() for axes in figure.axes] == [f"{metric} (%), 360 images\n{name}" for metric, name in rows]
    assert all(axes.get_title() == "benign" for axes in figure.axes)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {*MANY["methods"][:5], "random", "all others", "dense"}
    first = figure.axes[0].containers[-2][0]
    # From the dense network to higher ratios.
    assert list(first.get_xdata()) == pytest.approx([100200, 50200, 1200])


def test_no_mark_of_what_many_methods_preserve_is_cut(tmp_path, monkeypatch):
    for axes in drawn_axes(FIGURES["preservation"], MANY, tmp_path, monkeypatch):
        low, high = axes.get_ylim()
        heights = [float(height) for one in axes.containers for height in one[0].get_ydata()]
        assert low + 0.2 < min(heights)
        assert max(heights) < high - 0.2


def test_marks_on_curves_of_many_methods_are_not_at_one_epoch(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["curves"], MANY, tmp_path, monkeypatch)[-1]
    marked = {tuple(line.get_markevery()) for line in axes.lines if line.get_markevery()}
    assert marked == {(0,), (1,), (2,)}


def test_the_kept_share_within_a_decade_is_a_plain_number(tmp_path, monkeypatch):
    figure = drawn(FIGURES["sparsity"], STUDY | {"ratios": [0.99]}, tmp_path, monkeypatch)
    figure.axes[0].set_ylim(0.5, 1.5)
    figure.draw_without_rendering()
    labels = [one.get_text() for one in figure.axes[0].get_yticklabels(minor=True) if one.get_text()]
    assert labels
    assert not any("e" in label for label in labels)


@pytest.mark.parametrize(
    ("places", "apart"),
    [
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        # Around their middle, and not upwards.
        ([0.5, 0.5, 0.5], [0.4, 0.5, 0.6]),
        ([0.5, 0.52, 0.9], [0.46, 0.56, 0.9]),
        ([0.98, 0.99], [0.9, 1.0]),
        ([0.0, 0.01], [0.0, 0.1]),
    ],
)
def test_names_move_as_little_as_they_must(places, apart):
    assert style._apart(places, 0.1) == pytest.approx(apart)
