"""The values that methods log while they prune: a panel for each method and objective."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.beside import read_beside
from sparrow.results.figures import style
from sparrow.results.specs.figures import RunsFigureSpec

DRAWN_FROM = "*.trace.csv"
CAPTION = (
    "What methods with a state of their own log in each epoch of pruning: residuals, multipliers, budgets, shares. "
    "One panel for each method and objective, at the highest ratio and the first seed; the files pruned.trace.csv "
    "have the others."
)


@opened(RunsFigureSpec)
def draw_traces(source: list[Path], svg: Path, png: Path, spec: RunsFigureSpec) -> None:
    """Draw the traces of one data set and model at the highest ratio and the first seed.

    `spec.runs` says whose each file in `source` is, in the same order.
    """
    runs = pd.DataFrame(spec.runs)
    shown = runs[(runs["ratio"] == runs["ratio"].max()) & (runs["seed"] == runs["seed"].min())]
    methods, objectives = sorted(shown["method"].unique()), spec.objectives
    figure, grid = style.panels(len(methods), len(objectives), width=4.4, height=2.2, sharex="row")
    for line, method in zip(grid, methods, strict=True):
        line[0].set_ylabel(method)
        for axes, objective in zip(line, objectives, strict=True):
            index = style.select(shown, method=method, objective=objective).index
            table = read_beside(source[index[0]])
            for place, (name, rows) in enumerate(table.groupby("name", sort=False)):
                colour = style.COLOURS[place % len(style.COLOURS)]
                axes.plot(rows["epoch"], rows["value"], label=name, color=colour, linewidth=1)
            # Residuals and multipliers lie orders of magnitude apart, and may be zero.
            axes.set_yscale("symlog", linthresh=0.01)
            axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(objective)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    style.write(figure, svg, png)
