"""The preserved share (pruned over dense) of each metric at each ratio: a bar for each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparrow.files.specs import opened
from sparrow.results.comparable import with_whole_vra
from sparrow.results.figures import style
from sparrow.results.specs.figures import MeasuredFigureSpec

DRAWN_FROM = "summary.csv"
CAPTION = (
    "What is preserved: each accuracy after pruning, divided by that of the dense network on the same images. Error "
    "bars are 95 % intervals: for the ratio of paired proportions where there is one seed, Student's over the seeds "
    "where there are several. No bar or mark: the dense network had nothing to preserve, or a network failed. Crossed out: a "
    "network that answers with one class, whatever it sees. Of more than seven methods, each has a line, with a mark for each "
    "ratio."
)

UNMEASURED = {"era": "not attacked", "vra": "not verified"}


@opened(MeasuredFigureSpec)
def draw_preservation(source: Path, svg: Path, png: Path, spec: MeasuredFigureSpec) -> None:
    """Draw preserved benign accuracy, era and vra of one data set and model; no bar where the dense network had none.

    `spec` says which of era and vra are `measured` on each of the `objectives`.
    """
    networks = style.by_granularity(with_whole_vra(pd.read_csv(source)))
    looks = style.looks(svg, spec, networks)
    table = style.select(networks, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    figure = _dots(table, spec) if looks.many else _bars(table, spec, looks)
    style.write(figure, svg, png)


def _bars(table: pd.DataFrame, spec: MeasuredFigureSpec, looks: style.Looks) -> Figure:
    """A bar for each method: a row of panels for each metric, a column for each objective."""
    methods, ratios = sorted(table["method"].unique()), sorted(table["ratio"].unique())
    figure, grid = style.panels(len(style.METRICS), len(spec.objectives), sharex=True)
    width = 0.8 / len(methods)
    for row, metric in zip(grid, style.METRICS, strict=True):
        row[0].set_ylabel(f"preserved {metric} (%)\n{style.images(table[f'{metric}_n'])}")
        for axes, objective in zip(row, spec.objectives, strict=True):
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
                    color=looks.of(method)["color"],
                    hatch=style.HATCHES[place],
                    edgecolor="white",
                    linewidth=0,
                    label=method,
                )
                crossed = points.index.isin(style.constant(rows))
                style.cross_out(axes, np.array(across)[crossed], 100 * points["mean"][crossed])
            axes.axhline(100, color="grey", linestyle="--", linewidth=1)
            _say_what_is_missing(axes, table, spec, metric, objective)
            axes.set_ylim(bottom=0)
            axes.set_xticks(np.arange(len(ratios)), [f"{ratio:g}" for ratio in ratios])
            axes.grid(axis="x", visible=False)
    for axes, objective in zip(grid[0], spec.objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio")
    style.legend_below(figure, grid[0, 0])
    return figure


def _dots(table: pd.DataFrame, spec: MeasuredFigureSpec) -> Figure:
    """A line for each method, a mark for each ratio: a row of panels for each objective, a column for each metric."""
    ratios = sorted(table["ratio"].unique())
    metrics = list(style.METRICS)
    methods = sorted(table["method"].unique(), reverse=True)
    height = 0.5 + 0.17 * len(methods)
    figure, grid = style.panels(len(spec.objectives), len(metrics), width=3.4, height=height, sharex="col", sharey=True)
    for row, objective in zip(grid, spec.objectives, strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            axes.set_title(f"{style.title(spec, objective)}: preserved {metric}", fontsize=8)
            axes.axvline(100, color="grey", linestyle="--", linewidth=1)
            for place, ratio in enumerate(ratios):
                shift = 0.5 * ((len(ratios) - 1) / 2 - place) / len(ratios)
                look: dict[str, Any] = {
                    "color": style.COLOURS[place % len(style.COLOURS)],
                    "markersize": 3.5,
                    "elinewidth": 0.7,
                }
                look |= {"marker": style.MARKERS[place % len(style.MARKERS)], "label": f"ratio {ratio:g}"}
                for up, method in enumerate(methods):
                    rows = style.select(table, objective=objective, method=method, ratio=ratio)
                    points = style.over_seeds(rows, f"preserved_{metric}")
                    if len(points):
                        reach = 100 * style.error_bars(points)
                        across = 100 * points["mean"]
                        axes.errorbar(across, [up + shift], xerr=reach, **look)
                        style.cross_out(axes, across if style.constant(rows) else [], [up + shift])
            _say_what_is_missing(axes, table, spec, metric, objective)
            axes.set_yticks(range(len(methods)), methods, fontsize=7)
            axes.set_ylim(-0.6, len(methods) - 0.4)
            axes.set_xlim(left=0)
    for axes, metric in zip(grid[-1], metrics, strict=True):
        axes.set_xlabel(f"% of the dense network's, {style.images(table[f'{metric}_n'])}")
    style.legend_below(figure, grid[0, 0])
    return figure


def _say_what_is_missing(axes: Axes, table: pd.DataFrame, spec: MeasuredFigureSpec, metric: str, objective: str) -> None:
    """Say in a panel without a value why there is none."""
    rows = table[table["objective"] == objective]
    if rows[f"preserved_{metric}"].isna().all():
        unmeasured = metric in UNMEASURED and metric not in spec.measured[objective]
        words = UNMEASURED[metric] if unmeasured else "nothing to preserve" if rows[metric].notna().any() else style.NO_RESULT
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color="grey")
