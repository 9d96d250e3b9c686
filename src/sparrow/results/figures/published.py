"""Published against measured: a panel for each metric, a line for each network and source from their figure to ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "published.csv"
CAPTION = (
    "Published figures (rings) and this study's (filled), joined by a line for each network and source; the number "
    "in brackets is the source's. The table of the same name says in what the two are not the same experiment."
)

PUBLISHED = {"marker": "o", "fillstyle": "none", "color": "black", "markersize": 7, "linestyle": "none"}
DENSE = {"color": "grey", "marker": "p"}
OTHER = {"color": "#6B7280", "marker": "o"}
ROW = 0.18
"""Inches that a network takes in height."""


@opened(FigureSpec)
def draw_published(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw the published figures of one data set and model (hollow) and this study's (filled); a line joins the two."""
    compared = pd.read_csv(source)
    looks = style.looks(svg, spec, compared[compared["method"] != "dense"].assign(stage=spec.stage))
    table = style.select(compared, dataset=spec.dataset, model=spec.model)
    table = table[table["seeds"].gt(0) & table["source"].notna()]
    metrics = [metric for metric in style.METRICS if table[f"{metric}_published"].notna().any()] or ["benign"]
    sources = {name: number for number, name in enumerate(dict.fromkeys(table["source"]), start=1)}
    # From the top down.
    numbered = table.assign(number=table["source"].map(sources))
    rows = numbered.sort_values(["number", "objective", "method", "ratio"], ascending=False).to_dict("records")
    figure, grid = style.panels(1, len(metrics), height=0.3 + ROW * len(rows), sharey=True)
    for axes, metric in zip(grid[0], metrics, strict=True):
        for place, row in enumerate(rows):
            theirs, ours, look = row[f"{metric}_published"], row[metric], _look(looks, row["method"])
            if pd.notna(theirs):
                axes.plot([theirs, ours], [place, place], color=look["color"], linewidth=1)
                axes.plot(ours, place, linestyle="none", **look)
                axes.plot(theirs, place, **PUBLISHED)
        axes.set_xlabel("%")
        axes.set_title(style.METRICS[metric].split(" (")[0])
        axes.margins(x=0.08)
        axes.grid(axis="y", visible=False)
    methods = sorted(set(table["method"]))
    for method in methods:
        if method == "dense" or looks.stands_out(method):
            grid[0, 0].plot([], [], linestyle="none", label=method, **_look(looks, method))
    if any(method != "dense" and not looks.stands_out(method) for method in methods):
        grid[0, 0].plot([], [], linestyle="none", label=style.OTHERS, **OTHER)
    grid[0, 0].plot([], [], label="published", **PUBLISHED)
    grid[0, 0].set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=7)
    grid[0, 0].set_ylim(-0.7, len(rows) - 0.3)
    listed = "\n".join(f"[{number}] {name}" for name, number in sources.items())
    figure.suptitle(listed or "nothing was measured of what is published", fontsize=7, x=0.01, ha="left")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _look(looks: style.Looks, method: str) -> dict[str, Any]:
    """Colour and marker; names stand beside the marks, so that methods which do not stand out need none of their own."""
    if method == "dense":
        return DENSE
    return looks.of(method) if looks.stands_out(method) else OTHER


def _name(row: dict) -> str:
    ratio = f" {row['ratio']:g}" if row["ratio"] else ""
    return f"{row['objective']}, {row['method']}{ratio} [{row['number']}]"
