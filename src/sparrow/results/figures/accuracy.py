"""Accuracy against pruning ratio: a panel for each metric and objective, a line for each method."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.comparable import with_whole_vra
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "summary.csv"
CAPTION = (
    "Benign accuracy, era and vra of the pruned networks against the pruning ratio, a line for each method; dashed: "
    "the dense network before pruning. Error bars are 95 % intervals: Wilson's over the test images where there is "
    "one seed, Student's over the seeds where there are several. Crossed out: a network that answers with one class, "
    "whatever it sees. The axis is even in compression. Of more than seven methods the best are in colour, with "
    "random pruning, and all others grey."
)


@opened(FigureSpec)
def draw_accuracy(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw benign accuracy, era and vra of the fine-tuned networks of one data set and model; dashed: before pruning."""
    networks = style.by_granularity(with_whole_vra(pd.read_csv(source)))
    looks, table = style.looks(svg, spec, networks), style.select(networks, dataset=spec.dataset, model=spec.model)
    pruned = table[table["stage"] == spec.stage]
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    objectives = spec.objectives
    figure, grid = style.panels(len(style.METRICS), len(objectives), width=looks.width, sharex=True, sharey=True)
    grid[0, 0].set_ylim(-3, 103)
    for row, (metric, title) in zip(grid, style.METRICS.items(), strict=True):
        row[0].set_ylabel(f"{title} (%)\n{style.images(pruned[f'{metric}_n'])}")
        for axes, objective in zip(row, objectives, strict=True):
            for method in looks.order(methods):
                rows = style.select(pruned, objective=objective, method=method)
                points = style.over_seeds(rows, metric)
                axes.errorbar(
                    [style.position(ratio) for ratio in points.index],
                    100 * points["mean"],
                    looks.errors(method, 100 * points),
                    capsize=2,
                    elinewidth=0.8,
                    **looks.line(method, len(points)),
                )
                crossed = points[points.index.isin(style.constant(rows))]
                style.cross_out(axes, [style.position(ratio) for ratio in crossed.index], 100 * crossed["mean"])
            looks.name_ends(axes)
            dense = style.select(table, stage="dense", objective=objective)
            if len(dense):
                axes.axhline(100 * dense[metric].mean(), color="grey", linestyle="--", linewidth=1, label="dense")
            style.compression_axis(axes, ratios)
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
