"""The figures of a study, and what each is drawn from and told. Imports no torch, no pandas and no matplotlib.

Those that any study may have are described in `figure_files`. The figure of an analysis is drawn from all its tables, by the
function `draw` of its file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparrow import catalogue
from sparrow.files.paths import TRACE, Checkpoint, figure_path
from sparrow.results.specs.figures import FigureSpec, MeasuredFigureSpec, PanelsSpec, RunsFigureSpec
from sparrow.study import analysis_tables, cells, comparison
from sparrow.study.code_digest import code_digest, function_digest
from sparrow.study.config import Study
from sparrow.study.figure_files import Figure, known

PACKAGE = "sparrow.results.figures"
MEASURED = ("decisions", "preservation")
"""Figures that are told which of era and vra each objective's networks have."""

NEEDS: dict[str, Callable[[Study], bool]] = {
    "traces": lambda study: any(method.traces for method in study.methods.values()),
    "security": cells.has_security_curve,
    "bytes": lambda study: bool(study.variants),
}
"""What a study has to have for a figure: one of nothing is not drawn."""


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
    return {label: Figure(tables[0] if len(tables) == 1 else tuple(tables), True, "") for label, tables in drawn}


def _figure(study: Study, name: str) -> Figure:
    return known().get(name) or _of_analyses(study)[name]


def files(study: Study) -> list[str]:
    """The files of all figures."""
    return [
        f"{study.results}/{figure_path(*figure)}.{suffix}" for figure in drawn_of(study) for suffix in ("svg", "png", "pdf")
    ]


def drawn_of(study: Study) -> list[tuple[str, str, str]]:
    """Data set, model and name of each figure."""
    shown, compared = drawn(study), comparison.compared(study)
    proving = {objective for objective in study.objectives if "vra" in cells.metrics_of(study, objective)}
    return [
        (dataset, model, figure)
        for dataset in study.datasets
        for model in study.models
        for figure in shown
        if (figure != "published" or (dataset, model) in compared)
        and (figure != "decisions" or proving & set(objectives(study, model)))
    ]


def captions(study: Study) -> dict[str, dict[str, str]]:
    """What the report says of each figure (`figure`), and of the `table` of an analysis, by name."""
    own = {name: {"table": "", "figure": figure.caption} for name, figure in known().items()}
    return own | analysis_tables.captions(study)


def of_runs(study: Study, name: str) -> bool:
    """Whether a figure is drawn from the files of single runs."""
    return _figure(study, name).of_runs is not None


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
    own["stage"] = cells.shown_stage(study)
    if found.of_runs:
        return RunsFigureSpec(**own, runs=[run.identity() for run in _runs(study, dataset, model, found)])
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
