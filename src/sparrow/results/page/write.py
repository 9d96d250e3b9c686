"""The page of a study: everything that was found, in one file that asks no server for anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from sparrow.files.atomic import replacing
from sparrow.files.specs import opened
from sparrow.results.comparable import DOUBTED
from sparrow.results.page import cells, charts, costs, doubts, figures, latex, libraries, provenance, published, ranks
from sparrow.results.page.about import about
from sparrow.results.page.answer import answers
from sparrow.results.page.packed import pack, pack_json
from sparrow.results.page.study_data import StudyData
from sparrow.results.specs.page import PageSpec

TEMPLATES = Path(__file__).parent / "templates"
LARGEST = 400_000
"""Characters that a table may take in the page, compressed; a larger one is named only."""


@opened(PageSpec)
def write_page(tables: list[Path], drawn: list[Path], surroundings: Path, page: Path, spec: PageSpec) -> None:
    """Write the page of the study's `tables` (CSV) and of the figures `drawn` (SVG, PNG and PDF)."""
    data = StudyData(spec, {path.stem: path for path in tables}, surroundings)
    layout = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    layout.filters["prose"] = prose
    text = layout.get_template("page.jinja").render(_sections(data, drawn))
    with replacing(page) as partial:
        partial.write_text(text, encoding="utf-8")


def prose(text: str) -> Markup:
    """A sentence of a docstring as HTML: names in backticks as code, a percent sign with its number."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)).replace(" %", "\u00a0%")))


def _sections(data: StudyData, drawn: list[Path]) -> dict[str, Any]:
    """What the template shows, section by section."""
    spent, spent_words = costs.costs(data)
    ratio_chart, tradeoff_chart = charts.ratio_chart(data), charts.tradeoff_chart(data)
    files, left_out = _files(data)
    return {
        "name": data.spec.name,
        "results": data.spec.results,
        "about": about(data),
        "answers": answers(data),
        "doubted": DOUBTED if data.cells["doubted"].any() else "",
        "doubts": doubts.doubts(data),
        "chart_failures": charts.failures(data),
        "chart_caption": charts.caption(data, ratio_chart),
        "charts": {name: pack_json(one) for name, one in (("ratio", ratio_chart), ("tradeoff", tradeoff_chart)) if one},
        "cells": cells.all_cells(data),
        "marks": cells.marks(data),
        "verdicts": set(data.all_ranks["verdict"]),
        "undivided": cells.undivided(data),
        "least": f"{100 * cells.LEAST:g}\u00a0%",
        "ranks": ranks.ranks(data),
        "parts": figures.shown_figures(data.spec, {str(path.with_suffix("")): path for path in drawn if path.suffix == ".svg"}),
        "published": published.published(data),
        "costs": spent,
        "costs_in_words": spent_words,
        "provenance": provenance.provenance(data),
        "environment": provenance.environment(data),
        "latex": latex.tables(data),
        "bibtex": data.spec.bibtex,
        "files": files,
        "left_out": left_out,
        "libraries": libraries.packed(),
    }


def _files(data: StudyData) -> tuple[dict[str, str], list[str]]:
    """The tables inside the page, packed, by name; and the names of those that are too large."""
    found = {path.name: pack(path.read_bytes()) for path in data.files.values()}
    return {name: text for name, text in found.items() if len(text) <= LARGEST}, [
        name for name, text in found.items() if len(text) > LARGEST
    ]
