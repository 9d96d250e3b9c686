"""The figures of a study, and what each is drawn from and told. Imports no torch, no pandas and no matplotlib.

A figure's file in results/figures/ says itself what it is drawn from, in constants that are read here without importing it:

- `DRAWN_FROM` is a table of the results folder, several of them, or `*` and a suffix for the files of single runs;
- `WITHOUT_PRUNING = True`: it shows dense networks alone, too.

The figure of an analysis is drawn from all its tables, by the function `draw` of its file.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sparrow import catalogue
from sparrow.files.paths import TRACE, Checkpoint
from sparrow.results.specs.figures import FigureSpec, MeasuredFigureSpec, PanelsSpec, RunsFigureSpec
from sparrow.study import analysis_tables, cells, comparison
from sparrow.study.code_digest import code_digest, function_digest
from sparrow.study.config import Study

PACKAGE = "sparrow.results.figures"
FOLDER = Path(__file__).parents[1] / "results/figures"
MEASURED = ("decisions", "preservation")
"""Figures that are told which of era and vra each objective's networks have."""

NEEDS: dict[str, Callable[[Study], bool]] = {
    "traces": lambda study: any(method.traces for method in study.methods.values()),
    "security": cells.has_security_curve,
}
"""What a study has to have for a figure: one of nothing is not drawn."""


class Figure(NamedTuple):
    """What a figure's file says of it."""

    drawn_from: str | tuple[str, ...]
    without_pruning: bool

    @property
    def of_runs(self) -> str | None:
        """The suffix of the files of single runs that it is drawn from; None if it is drawn from tables."""
        return self.drawn_from[1:] if isinstance(self.drawn_from, str) and self.drawn_from.startswith("*") else None


@cache
def known() -> dict[str, Figure]:
    """All figures by name."""
    said = {path.stem: _constants(path) for path in sorted(FOLDER.glob("*.py"))}
    return {
        name: Figure(constants["DRAWN_FROM"], constants.get("WITHOUT_PRUNING", False))
        for name, constants in said.items()
        if "DRAWN_FROM" in constants
    }


def _constants(path: Path) -> dict[str, Any]:
    """What a file sets to a plain value at its top level."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def drawn(study: Study) -> dict[str, Figure]:
    """The figures that a study has, of one data set and model or another."""
    return {
        name: figure
        for name, figure in known().items()
        if NEEDS.get(name, lambda study: True)(study)
        and (figure.without_pruning or cells.prunes(study))
        and (name != "published" or comparison.compared(study))
    } | _of_analyses(study)


def _of_analyses(study: Study) -> dict[str, Figure]:
    """The figures that analyses draw, each of all its tables."""
    drawn = analysis_tables.drawn(study).items()
    return {label: Figure(tables[0] if len(tables) == 1 else tuple(tables), True) for label, tables in drawn}


def _figure(study: Study, name: str) -> Figure:
    return known().get(name) or _of_analyses(study)[name]


def files(study: Study) -> list[str]:
    """The files of all figures."""
    shown, compared = drawn(study), comparison.compared(study)
    proving = {objective for objective in study.objectives if "vra" in cells.metrics_of(study, objective)}
    return [
        f"{study.results}/figures/{dataset}.{model}.{figure}.{suffix}"
        for dataset in study.datasets
        for model in study.models
        for figure in shown
        if (figure != "published" or (dataset, model) in compared)
        and (figure != "decisions" or proving & set(objectives(study, model)))
        for suffix in ("svg", "png")
    ]


def objectives(study: Study, model: str) -> list[str]:
    """The objectives that `model` is trained on."""
    return [objective for objective in study.objectives if cells.is_trained_on(study, model, objective)]


def sources(study: Study, dataset: str, model: str, figure: str) -> str | list[str]:
    """What the figure of that data set and model is drawn from: one table, or a list of files."""
    found = _figure(study, figure)
    if found.of_runs:
        return [f"{study.results}/{run.path}{found.of_runs}" for run in _runs(study, dataset, model, found)]
    if isinstance(found.drawn_from, str):
        return f"{study.results}/{found.drawn_from}"
    return [f"{study.results}/{table}" for table in found.drawn_from]


def stage(study: Study, figure: str) -> str:
    """Which function draws it: `MODULE:FUNCTION`."""
    if figure in study.analyses:
        return f"{_analysis(study, figure)}:draw"
    return f"{PACKAGE}.{figure}:draw_{figure}"


def _analysis(study: Study, label: str) -> str:
    return catalogue.module_name("analyses", study.analyses[label].kind)


def _code(study: Study, figure: str) -> str:
    if figure in study.analyses:
        return function_digest(_analysis(study, figure), "draw")
    return code_digest(f"{PACKAGE}.{figure}")


def spec(study: Study, dataset: str, model: str, figure: str) -> PanelsSpec:
    """What drawing the figure of that data set and model reads, besides its sources."""
    found, shown = _figure(study, figure), objectives(study, model)
    own: dict[str, Any] = {"dataset": dataset, "model": model, "objectives": shown, "code": _code(study, figure)}
    if found.of_runs:
        return RunsFigureSpec(**own, runs=[run.identity() for run in _runs(study, dataset, model, found)])
    own["stage"] = "finetuned" if "finetuned" in study.evaluate else "pruned"
    own["threats"] = {objective: study.threat_of(objective) for objective in shown}
    if figure in MEASURED:
        return MeasuredFigureSpec(**own, measured={objective: cells.metrics_of(study, objective) for objective in shown})
    return FigureSpec(**own)


def _runs(study: Study, dataset: str, model: str, figure: Figure) -> list[Checkpoint]:
    """The runs whose files a figure is drawn from."""
    runs = [one for one in cells.trainings(study) if one.parent[:2] == (dataset, model)]
    if figure.of_runs == TRACE:
        return [one for one in runs if one.cell and one.stage == "pruned" and study.methods[one.cell.method].traces]
    return runs
