"""The speed-up of pruned networks on a CPU, against the era that they preserve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sparrow.results.figures import _style as style

DRAWN_FROM = "latency.csv"

FORMS = {"masked": "none", "compact": "full"}


def draw_latency(source: Path, svg: Path, png: Path, spec: dict) -> None:
    """Draw the pruned networks of one data set and model: a row for each runtime and batch size, a column for each objective.

    Lines join the ratios of one method in one form. Means over seeds.
    """
    table = style.select(style.by_granularity(pd.read_csv(source)), dataset=spec["dataset"], model=spec["model"])
    table = style.select(table, stage=spec["stage"])
    # Networks that failed count, so that each method looks as it does in other figures.
    methods, objectives = sorted(table["method"].unique()), spec["objectives"]
    table = table.dropna(subset=["speedup", "preserved_era"])
    panels = sorted(
        set(zip(table["runtime"], table["batch_size"].astype(int), strict=True)), key=lambda one: (one[0] != "torch", one)
    )
    figure, grid = style.panels(max(len(panels), 1), len(objectives), height=1.7, sharex="row", sharey=True)
    for row, (runtime, size) in zip(grid, panels, strict=False):
        row[0].set_ylabel(f"{runtime}, {size} image{'s' * (size > 1)}\npreserved era (%)")
        for axes, objective in zip(row, objectives, strict=True):
            rows = style.select(table, objective=objective, runtime=runtime, batch_size=size)
            for (method, form), own in rows.groupby(["method", "form"]):
                points = own.groupby("ratio")[["speedup", "preserved_era"]].mean()
                look: dict[str, Any] = {"fillstyle": FORMS[str(form)], "linewidth": 0.8}
                look |= style.look(methods, str(method))
                axes.plot(points["speedup"], 100 * points["preserved_era"], **look)
                crossed = points[points.index.isin(style.constant(own))]
                style.cross_out(axes, crossed["speedup"], 100 * crossed["preserved_era"])
            axes.axvline(1, color="grey", linestyle="--", linewidth=1)
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
        if style.select(table, objective=objective).empty:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center", color="grey")
    for axes in grid[-1]:
        axes.set_xlabel("times as fast as dense")
    grid[0, 0].set_ylim(bottom=0)
    for method in methods:
        grid[0, 0].plot([], [], linewidth=0.8, label=method, **style.look(methods, method))
    for form in sorted(set(table["form"]), reverse=True):
        grid[0, 0].plot([], [], marker="o", fillstyle=FORMS[form], color="grey", linestyle="", label=form)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
