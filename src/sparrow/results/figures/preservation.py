"""The preserved share (pruned over dense) of each metric at each ratio: a bar for each method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.specs.figures import MeasuredFigureSpec

DRAWN_FROM = "summary.csv"
CAPTION = (
    "What is preserved: each accuracy after pruning, divided by that of the dense network on the same images. Error "
    "bars are 95 % intervals: for the ratio of paired proportions where there is one seed, Student's over the seeds "
    "where there are several. No bar: the dense network had nothing to preserve. Crossed out: a network that answers "
    "with one class, whatever it sees."
)

UNMEASURED = {"era": "not attacked", "vra": "not verified"}


@opened(MeasuredFigureSpec)
def draw_preservation(source: Path, svg: Path, png: Path, spec: MeasuredFigureSpec) -> None:
    """Draw preserved benign accuracy, era and vra of one data set and model; no bar where the dense network had none.

    `spec` says which of era and vra are `measured` on each of the `objectives`.
    """
    table = style.select(style.by_granularity(pd.read_csv(source)), dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, ratios = sorted(table["method"].unique()), sorted(table["ratio"].unique())
    objectives = spec.objectives
    figure, grid = style.panels(len(style.METRICS), len(objectives), sharex=True)
    width = 0.8 / len(methods)
    for row, metric in zip(grid, style.METRICS, strict=True):
        row[0].set_ylabel(f"preserved {metric} (%)\n{style.images(table[f'{metric}_n'])}")
        for axes, objective in zip(row, objectives, strict=True):
            for place, method in enumerate(methods):
                rows = style.select(table, objective=objective, method=method)
                points = style.over_seeds(rows, f"preserved_{metric}")
                across = [ratios.index(ratio) + (place - (len(methods) - 1) / 2) * width for ratio in points.index]
                axes.bar(
                    across,
                    100 * points["mean"],
                    width,
                    yerr=100 * style.error_bars(points),
                    error_kw={"elinewidth": 0.8, "capsize": 1.5},
                    color=style.look(methods, method)["color"],
                    label=method,
                )
                crossed = points.index.isin(style.constant(rows))
                style.cross_out(axes, np.array(across)[crossed], 100 * points["mean"][crossed])
            axes.axhline(100, color="grey", linestyle="--", linewidth=1)
            if table.loc[table["objective"] == objective, f"preserved_{metric}"].isna().all():
                unmeasured = metric in UNMEASURED and metric not in spec.measured[objective]
                words = UNMEASURED[metric] if unmeasured else "nothing to preserve"
                axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color="grey")
            axes.set_ylim(bottom=0)
            axes.set_xticks(np.arange(len(ratios)), [f"{ratio:g}" for ratio in ratios])
            axes.grid(axis="x", visible=False)
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
