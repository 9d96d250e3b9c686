"""Which figures a study has, and what they are drawn from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparrow.files.paths import CURVE, TRACE
from sparrow.results.specs.figures import MeasuredFigureSpec, RunsFigureSpec
from sparrow.study import figure_files, figures
from tests.study.test_targets import FOLDER, study


def names(**changes) -> set[str]:
    """The figures that are drawn of that study."""
    return {Path(file).name.split(".")[2] for file in figures.files(study(**changes))}


def test_every_figure_says_what_it_is_drawn_from() -> None:
    drawing = {path.stem for path in figure_files.FOLDER.glob("*.py") if f"def draw_{path.stem}(" in path.read_text()}
    assert set(figures.known()) == drawing
    tables = [table for one in figures.known().values() if not one.of_runs for table in _tables(one)]
    assert all(table.endswith(".csv") for table in tables)
    assert {one.of_runs for one in figures.known().values() if one.of_runs} == {CURVE, TRACE}


def _tables(figure: figure_files.Figure) -> tuple[str, ...]:
    return (figure.drawn_from,) if isinstance(figure.drawn_from, str) else figure.drawn_from


def test_all_forms_of_a_figure_are_drawn() -> None:
    files = figures.files(study())
    assert {f"somewhere/figures/digits.cnn-small.accuracy.{form}" for form in ("svg", "png", "pdf")} <= set(files)
    assert len(set(files)) == len(files) == 3 * len(names())


@pytest.mark.parametrize(
    ("figure", "without"),
    [
        ("traces", {"methods": {"lwm": None}}),
        ("security", {"attacks": {"pgd": None}, "verifiers": {"ibp": None}}),
        ("decisions", {"attacks": {"pgd": None}, "verifiers": {"smoothing": None}, "threat": {"norm": "l2", "eps": 0.1}}),
    ],
)
def test_a_figure_of_nothing_is_not_drawn(figure: str, without: dict) -> None:
    having = {"methods": {"admm": None}} if figure == "traces" else {}
    assert figure in names(**having)
    assert figure not in names(**without)


def test_published_figures_are_drawn_of_what_is_published() -> None:
    assert "published" not in names(published={})  # Nobody has published digits.


def test_dense_networks_alone_are_in_the_figures_that_show_them() -> None:
    found = names(evaluate=["dense"], methods={})
    assert found == {name for name in names() if figures.known()[name].without_pruning}
    assert {"robustness", "curves"} <= found


def test_a_figure_is_drawn_from_one_table_from_several_or_from_all_runs() -> None:
    def sources(figure: str) -> str | list[str]:
        return figures.sources(study(methods={"admm": None, "lwm": None}), "digits", "cnn-small", figure)

    assert sources("accuracy") == "somewhere/summary.csv"
    assert sources("recall") == [f"somewhere/{table}.csv" for table in ("recall", "intensification", "summary")]
    assert sources("traces") == [f"{FOLDER}/admm-0.90/pruned.trace.csv"]
    stages = ("dense", *(f"{method}-0.90/{stage}" for method in ("admm", "lwm") for stage in ("pruned", "finetuned")))
    assert sources("curves") == [f"{FOLDER}/{stage}.curve.csv" for stage in stages]


def test_a_figure_of_runs_is_told_whose_they_are_and_one_of_tables_what_to_show() -> None:
    one = study()
    curves = figures.spec(one, "digits", "cnn-small", "curves")
    assert isinstance(curves, RunsFigureSpec)
    assert len(curves.runs) == len(figures.sources(one, "digits", "cnn-small", "curves"))
    assert curves.runs[0]["stage"] == "dense"
    table = figures.spec(one, "digits", "cnn-small", "decisions")
    assert isinstance(table, MeasuredFigureSpec)
    assert (table.stage, table.measured) == ("finetuned", {"benign": ["era", "vra"]})
    assert table.code != curves.code


def test_nothing_that_draws_is_imported_to_know_the_figures() -> None:
    code = "import sys\nfrom sparrow.study import figures\nassert figures.known()\n"
    code += "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
