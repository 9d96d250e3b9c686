"""The page of a study: what it is made from, and what it is told. Imports no torch, no pandas and no matplotlib."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sparrow import catalogue, radius
from sparrow.files.paths import DENSE, figure_path, study_table
from sparrow.results.specs.page import Entry, PageSpec, ShownFigure
from sparrow.study import analyses, analysis_tables, cells, citations, figures
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study

TABLES = (
    *("summary", "ranking", "outcomes", "recall", "intensification", "security", "decisions", "layers", "budgets", "costs"),
    "provenance",
)
"""What every study has, in the order of the page's downloads."""
TEMPLATES = Path(__file__).parents[1] / "results/page/templates"


def tables(study: Study) -> list[str]:
    """The tables of the whole study that its page shows or offers."""
    names = [*TABLES, *_compared(study)]
    own = [*analysis_tables.collected(study), *analyses.labels(study, timed=True)]
    return [f"{study.results}/{study_table(name)}" for name in [*names, *dict.fromkeys(own)]]


def _compared(study: Study) -> list[str]:
    if study.published is None:
        return []
    return ["published", "headline"] if study.published.headline else ["published"]


def spec(study: Study, name: str) -> PageSpec:
    """What the page of the study called `name` is told."""
    return PageSpec(
        name=name,
        results=study.results,
        stage=cells.shown_stage(study) if cells.prunes(study) else DENSE,
        seeds=study.seeds,
        ratios=sorted({ratio for method in study.methods.values() for ratio in method.ratios or study.ratios}),
        threats={objective: study.threat_of(objective) for objective in study.objectives},
        entries={
            room: [_entry(room, label, one) for label, one in getattr(study, room).items()] for room in catalogue.PACKAGES
        },
        training=study.training.model_dump(mode="json", exclude_unset=True),
        figures=_figures(study),
        bibtex=citations.bibtex([study]),
        templates=_templates(),
        code=code_digest("sparrow.results.page.write"),
    )


def _entry(room: catalogue.Room, label: str, params: Any) -> Entry:
    return Entry(
        label=label,
        kind=params.kind,
        says=catalogue.summary(room, params.kind),
        options=_in_words(params.model_dump(exclude_unset=True, exclude={"kind"})),
    )


def _in_words(options: dict[str, Any]) -> str:
    """Options as people write them, those in sections behind the section's name."""
    words = []
    for name, value in options.items():
        if isinstance(value, dict):
            inner = _in_words(value)
            words += [f"{name} ({inner})"] if inner else []
        elif value is not None:
            words.append(f"{name.replace('_', ' ')} {_value(name, value)}")
    return ", ".join(words)


def _value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(name, one) for one in value)
    return radius.text(value) if isinstance(value, float) and name in ("eps", "step_size") else str(value)


def _figures(study: Study) -> list[ShownFigure]:
    captions, shown = figures.captions(study), []
    for dataset, model, name in figures.drawn_of(study):
        found = figures.sources(study, dataset, model, name)
        runs = figures.of_runs(study, name)
        shown.append(
            ShownFigure(
                dataset=dataset,
                model=model,
                name=name,
                caption=captions[name]["figure"],
                path=f"{study.results}/{figure_path(dataset, model, name)}",
                tables=[] if runs else [Path(one).name for one in ([found] if isinstance(found, str) else found)],
            )
        )
    return shown


def _templates() -> str:
    digest = hashlib.sha256()
    for path in sorted(TEMPLATES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
