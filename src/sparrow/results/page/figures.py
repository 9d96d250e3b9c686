"""The figures of a study, each with its caption and as SVG, PDF and PNG, and the tables that they are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparrow.results.page.packed import pack
from sparrow.results.specs.page import PageSpec, ShownFigure

FIRST = ("accuracy", "ranking", "preservation", "robustness", "security", "decisions", "bytes")
"""In the order in which they are asked for; all others come behind, those of trainings last."""
LAST = ("curves", "traces")
ALL_PDFS = 1_500_000
"""Bytes that the PDFs of all figures may take together; where they are more, the page has none of them."""
TITLES = {
    "accuracy": "Accuracy against the pruning ratio",
    "ranking": "Ranking",
    "preservation": "What is preserved of the dense network",
    "robustness": "Between era and vra",
    "security": "Security curves",
    "decisions": "Which bound decides",
    "bytes": "Accuracy against bytes",
    "published": "Published and measured",
    "recall": "Recall of classes",
    "sparsity": "Weights left in each layer",
    "curves": "Learning curves",
    "traces": "Traces of pruning",
}


def shown_figures(spec: PageSpec, files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A part for each pair of data set and model: `name` and its `figures`. `files` are SVGs by path without suffix."""
    pdfs = {path: svg.with_suffix(".pdf") for path, svg in files.items()}
    small = sum(pdf.stat().st_size for pdf in pdfs.values() if pdf.exists()) <= ALL_PDFS
    pairs = dict.fromkeys((one.dataset, one.model) for one in spec.figures)
    return [
        {
            "name": f"{dataset}, {model}",
            "figures": [
                _figure(one, files[one.path], pdfs[one.path] if small else None)
                for one in sorted(spec.figures, key=_place)
                if (one.dataset, one.model) == (dataset, model) and one.path in files
            ],
        }
        for dataset, model in pairs
    ]


def _place(one: ShownFigure) -> tuple[int, str]:
    if one.name in FIRST:
        return FIRST.index(one.name), ""
    return len(FIRST) + (one.name in LAST), one.name


def _figure(one: ShownFigure, svg: Path, pdf: Path | None) -> dict[str, Any]:
    return {
        "id": f"{one.dataset}.{one.model}.{one.name}",
        "title": TITLES.get(one.name, one.name.replace("-", " ").capitalize()),
        "caption": one.caption,
        "tables": one.tables,
        "svg": pack(svg.read_bytes()),
        "pdf": pack(pdf.read_bytes()) if pdf and pdf.exists() else "",
    }
