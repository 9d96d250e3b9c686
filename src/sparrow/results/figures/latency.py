"""What sparsity buys, and what it costs: how much faster pruned networks are on a CPU, against the era that they preserve."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.results.figures import _style as style

RUNTIMES = {"torch": "o", "onnxruntime": "s"}
FORMS = {"masked": "none", "compact": "full"}


def draw_latency(source: Path, svg: Path, png: Path, spec: dict) -> None:
    """Draw the pruned networks of one data set and model: a row for each batch size, a column for each objective.

    Lines join the ratios of one method in one form, by one runtime. Means over seeds.
    """
    table = style.select(style.by_granularity(pd.read_csv(source)), dataset=spec["dataset"], model=spec["model"])
    table = style.select(table, stage=spec["stage"])
    methods, sizes, objectives = sorted(table["method"].unique()), sorted(table["batch_size"].unique()), spec["objectives"]
    figure, grid = style.panels(max(len(sizes), 1), len(objectives), sharex=True, sharey=True)
    for row, size in zip(grid, sizes, strict=False):
        row[0].set_ylabel(f"preserved era (%)\nbatches of {size}")
        for axes, objective in zip(row, objectives, strict=True):
            rows = style.select(table, objective=objective, batch_size=size).dropna(subset=["preserved_era"])
            for (method, runtime, form), own in rows.groupby(["method", "runtime", "form"]):
                points = own.groupby("ratio")[["speedup", "preserved_era"]].mean()
                look = {"color": style.look(methods, method)["color"], "marker": RUNTIMES[runtime], "fillstyle": FORMS[form]}
                axes.plot(points["speedup"], 100 * points["preserved_era"], linewidth=0.8, **look)
            axes.axvline(1, color="grey", linestyle="--", linewidth=1)
            if rows.empty:
                axes.text(0.5, 0.5, "no era to preserve", transform=axes.transAxes, ha="center", color="grey")
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("times as fast as dense")
    grid[0, 0].set_ylim(bottom=0)
    for method in methods:
        grid[0, 0].plot([], [], color=style.look(methods, method)["color"], label=method)
    for runtime, form in sorted(set(table[["runtime", "form"]].itertuples(index=False, name=None))):
        look = {"marker": RUNTIMES[runtime], "fillstyle": FORMS[form], "color": "grey", "linestyle": ""}
        grid[0, 0].plot([], [], label=f"{form}, {runtime}", **look)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
