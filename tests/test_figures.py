"""Figures and HTML tables, from small made-up results."""

from itertools import product
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sparrow.results.figures import _style as style
from sparrow.results.figures.accuracy import draw_accuracy
from sparrow.results.figures.curves import draw_curves
from sparrow.results.figures.preservation import draw_preservation
from sparrow.results.figures.sparsity import draw_sparsity
from sparrow.results.statistics import mean_over_seeds
from sparrow.results.tables import cost_table, summary_table

# Two of everything where a figure could confuse them.
STUDY = {"objectives": ["benign", "trades"], "methods": ["lwm", "hydra"], "ratios": [0.5, 0.99], "seeds": [0]}


def networks(study):
    """Who the networks of a study are, dense ones first."""
    for objective, seed in product(study["objectives"], study["seeds"]):
        yield {"objective": objective, "method": "dense", "ratio": 0.0, "seed": seed, "stage": "dense"}
        for method, ratio in product(study["methods"], study["ratios"]):
            yield {"objective": objective, "method": method, "ratio": ratio, "seed": seed, "stage": "finetuned"}


def summary(study, nothing_preserved=False):
    rows = []
    for who in networks(study):
        line = {"dataset": "digits", "model": "cnn-small", **who}
        line |= {"sparsity_prunable": who["ratio"], "sparsity_all": who["ratio"] / 2, "nonzero": 12345}
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


def draw_from_table(draw, table):
    """Draws a figure whose source is one CSV file."""

    def drawn(study, folder, **options):
        source = folder / "table.csv"
        table(study, **options).to_csv(source, index=False)
        spec = {"dataset": "digits", "model": "cnn-small", "objectives": study["objectives"], "stage": "finetuned"}
        draw(source, folder / "figure.svg", folder / "figure.png", spec)

    return drawn


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
    spec = {"objectives": study["objectives"], "runs": runs}
    draw_curves(sources, folder / "figure.svg", folder / "figure.png", spec)


FIGURES = {
    "accuracy": draw_from_table(draw_accuracy, summary),
    "preservation": draw_from_table(draw_preservation, summary),
    "sparsity": draw_from_table(draw_sparsity, layers),
    "curves": draw_from_curves,
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


@every_figure
def test_a_figure_drawn_twice_is_the_same_to_the_byte(draw, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(STUDY, tmp_path / name)
    assert_both_are_pictures(tmp_path / "one")
    for file in ("figure.svg", "figure.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("seeds", [[0], [0, 1]], ids=["one seed", "two seeds"])
def test_nothing_preserved_is_drawn(seeds, tmp_path):
    study = STUDY | {"objectives": ["benign"], "seeds": seeds}
    FIGURES["preservation"](study, tmp_path, nothing_preserved=True)
    assert_both_are_pictures(tmp_path)


def drawn_axes(draw, study, folder, monkeypatch):
    """The axes of a figure, caught on their way to the file."""
    caught = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: caught.append(figure))
    draw(study, folder)
    style.plt.close(caught[0])
    return caught[0].axes


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


def test_the_share_kept_in_each_layer_is_drawn(tmp_path, monkeypatch):
    axes = drawn_axes(FIGURES["sparsity"], STUDY, tmp_path, monkeypatch)[1]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([1, 1])


def test_a_method_that_does_not_learn_has_no_curve_of_pruning(tmp_path, monkeypatch):
    study = STUDY | {"methods": ["lwm"], "objectives": ["benign"]}
    axes = drawn_axes(draw_from_curves, study, tmp_path, monkeypatch)
    # Rows: loss and benign accuracy of pre-training, of pruning, of fine-tuning.
    assert [len(axes[row].lines) for row in (3, 5)] == [0, 2]


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


def test_no_two_of_eight_methods_look_alike():
    methods = [f"method-{number}" for number in range(8)]
    assert len({tuple(style.look(methods, method).values()) for method in methods}) == 8


def test_a_method_looks_the_same_in_every_figure():
    assert style.look(["lwm", "hydra"], "lwm") == style.look(["hydra", "lwm"], "lwm")


@pytest.fixture
def summary_html(tmp_path):
    """The table of one dense network and of one that has lost all its robustness."""
    table = summary(STUDY | {"objectives": ["trades"], "methods": ["lwm"], "ratios": [0.995]})
    lost, interval = table["stage"] == "finetuned", ["preserved_vra_low", "preserved_vra_high"]
    table.loc[lost, "preserved_era"] = np.nan
    table.loc[lost, "preserved_vra"] = 0.0
    table.loc[lost, interval] = np.nan
    table.to_csv(tmp_path / "summary.csv", index=False)
    summary_table(tmp_path / "summary.csv", tmp_path / "summary.html")
    return [cells(line) for line in rows(tmp_path / "summary.html")]


def rows(path):
    return path.read_text(encoding="utf-8").split("<tbody>")[1].split("<tr>")[1:]


def cells(line):
    return [cell.split(">", 1)[1].split("</td>")[0].strip() for cell in line.split("<td")[1:]]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (3, "lwm"),
        (4, "0.995"),
        (7, "99.50%"),
        (8, "49.75%"),
        (9, "12,345"),
        (10, "40.2 [35.2, 45.2]"),  # 0.9 - 0.5 * 0.995
        (13, "44.7 [44.7, 44.7]"),
        (14, "–"),  # the dense network was never robust
        (15, "0.0"),  # nothing is left: no interval
    ],
)
def test_a_cell_of_the_summary_is_formatted(summary_html, column, text):
    assert summary_html[1][column] == text


def test_the_costs_are_summed_by_stage_and_by_attack(tmp_path):
    (tmp_path / "costs.csv").write_text(
        "job,stage,seconds,peak_memory_mb,gradient_evaluations\n"
        "digits/m/o/seed0/dense,pretrain,1000.25,700.4,1000000\n"
        "digits/m/o/seed0/dense/attacks/pgd,attack,1.5,600.0,20\n"
        "digits/m/o/seed1/dense/attacks/pgd,attack,2.5,650.0,30\n"
        "digits/m/o/seed0/dense/attacks/fgsm,attack,0.5,500.0,1\n"
    )
    cost_table(tmp_path / "costs.csv", tmp_path / "costs.html")
    # Stage, what, jobs, seconds of all, of the slowest, peak memory of the largest, gradient evaluations of all.
    assert [cells(line) for line in rows(tmp_path / "costs.html")] == [
        ["pretrain", "pretrain", "1", "1,000.2", "1,000.2", "700", "1,000,000"],
        ["attack", "pgd", "2", "4.0", "2.5", "650", "50"],
        ["attack", "fgsm", "1", "0.5", "0.5", "500", "1"],
    ]
