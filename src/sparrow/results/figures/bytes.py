"""Accuracy against the bytes of a network's weights: what pruning, rounding and both of them preserve at a size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparrow.files.paths import DENSE, base_of, variant_of
from sparrow.files.specs import opened
from sparrow.results.comparable import with_whole_vra
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "summary.csv"
WITHOUT_PRUNING = True
CAPTION = (
    "What pruning, rounding and both of them preserve at a size. A colour for each variant, a marker for each method; of more "
    "than seven methods a row of panels for each variant, the best methods in colour, with random pruning, and all others "
    "grey. A line goes from the dense network (star) to higher pruning ratios. Bytes are "
    "those of all parameters where "
    "zeros are not stored: nonzero weights at their bits, a bit for each weight that says which these are (or the "
    "zeros themselves, where that is less), biases, norms and the steps of rounded channels at 32 bits. Of mixed "
    "precision every layer has its own bits, and the key the most that a network has on average. A better code for "
    "the places would move the highest ratios further to the left. It is no memory that a run takes: activations are "
    "float32 in all of them. Error bars as in the figure accuracy; crossed out: a network that answers with one "
    "class, whatever it sees."
)

METRICS = {metric: style.METRICS[metric] for metric in ("era", "vra")}
UNROUNDED = "not rounded"


@opened(FigureSpec)
def draw_bytes(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw era and vra of one data set and model: a colour for each variant, a marker for each method (a star: dense)."""
    networks = style.by_granularity(with_whole_vra(pd.read_csv(source)))
    looks, table = style.looks(svg, spec, networks), style.select(networks, dataset=spec.dataset, model=spec.model)
    table = table[table["stage"].map(base_of).isin([DENSE, spec.stage])]
    table = table.assign(
        dense=table["stage"].map(base_of) == DENSE,
        variant=table["stage"].map(variant_of),
        bytes=table[["weight_bytes", "index_bytes", "other_bytes"]].sum(axis=1, skipna=False),
    )
    methods = sorted(table.loc[~table["dense"], "method"].unique())
    # Most bits first.
    bits = table.groupby("variant")["bits"].max().sort_values(ascending=False, kind="stable")
    figure = _by_variant(table, spec, looks, methods, bits) if looks.many else _together(table, spec, looks, methods, bits)
    style.write(figure, svg, png)


def _by_variant(table: pd.DataFrame, spec: FigureSpec, looks: style.Looks, methods: list[str], bits: pd.Series) -> Figure:
    """A row of panels for each metric and variant, in which methods look as in all figures."""
    rows = [(metric, str(variant)) for metric in METRICS for variant in bits.index]
    figure, grid = style.panels(len(rows), len(spec.objectives), sharex=True, sharey=True, width=3.8, height=1.7)
    for row, (metric, variant) in zip(grid, rows, strict=True):
        row[0].set_ylabel(f"{metric} (%), {style.images(table[f'{metric}_n'])}\n{_name(variant, bits)}", fontsize=8)
        for axes, objective in zip(row, spec.objectives, strict=True):
            own = style.select(table, objective=objective, variant=variant)
            dense = own[own["dense"]]
            for method in looks.order(methods):
                of = pd.concat([dense, own[~own["dense"] & (own["method"] == method)]])
                _line(axes, of, metric, **{"linewidth": 1.5, "bars": looks.stands_out(method)} | looks.of(method))
            _line(axes, dense, metric, color="black", marker="*", markersize=9)
            axes.set_xscale("log")
            axes.set_title(style.title(spec, objective), fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("bytes of parameters")
    for method in looks.order(methods):
        grid[0, 0].plot([], [], **looks.line(method))
    grid[0, 0].plot([], [], color="black", linestyle="none", marker="*", markersize=9, label="dense")
    grid[0, 0].set_ylim(-3, 103)
    style.legend_below(figure, grid[0, 0])
    return figure


def _name(variant: str, bits: pd.Series) -> str:
    return f"{variant} ({bits[variant]:.3g} bits)" if variant else UNROUNDED


def _together(table: pd.DataFrame, spec: FigureSpec, looks: style.Looks, methods: list[str], bits: pd.Series) -> Figure:
    """A row of panels for each metric: a colour and a kind of line for each variant, a marker for each method."""
    lines = {variant: style.LINES[place % len(style.LINES)] for place, variant in enumerate(bits.index)}
    colours = {variant: style.COLOURS[place % len(style.COLOURS)] for place, variant in enumerate(bits.index)}
    figure, grid = style.panels(len(METRICS), len(spec.objectives), sharex=True, sharey=True, width=3.2, height=2.4)
    for row, (metric, title) in zip(grid, METRICS.items(), strict=True):
        row[0].set_ylabel(f"{title} (%)\n{style.images(table[f'{metric}_n'])}")
        for axes, objective in zip(row, spec.objectives, strict=True):
            own = style.select(table, objective=objective)
            for variant, colour in colours.items():
                rows = style.select(own, variant=variant)
                dense = rows[rows["dense"]]
                for method in looks.order(methods) or [""]:
                    of = pd.concat([dense, rows[~rows["dense"] & (rows["method"] == method)]])
                    marker = looks.of(method)["marker"] if method else ""
                    _line(axes, of, metric, color=colour, marker=marker, linestyle=lines[variant])
                _line(axes, dense, metric, color=colour, marker="*", markersize=9)
            axes.set_xscale("log")
    for axes, objective in zip(grid[0], spec.objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("bytes of parameters")
    for variant, colour in colours.items():
        grid[0, 0].plot([], [], color=colour, linestyle=lines[variant], label=_name(str(variant), bits))
    for method in methods:
        grid[0, 0].plot([], [], color="grey", linestyle="none", marker=looks.of(method)["marker"], label=method)
    grid[0, 0].plot([], [], color="grey", linestyle="none", marker="*", markersize=9, label="dense")
    grid[0, 0].set_ylim(-3, 103)
    style.legend_below(figure, grid[0, 0])
    return figure


def _line(axes: Axes, rows: pd.DataFrame, metric: str, bars: bool = True, **look: Any) -> None:
    """Draw a line through networks that differ by ratio and seed alone, from the lowest ratio on; means over seeds, with error
    bars unless many would hide each other."""
    points = style.over_seeds(rows, metric)
    across = rows.groupby("ratio")["bytes"].mean().reindex(points.index)
    axes.errorbar(
        across,
        100 * points["mean"],
        100 * style.error_bars(points) if bars else None,
        **{"linewidth": 1, "capsize": 2, "elinewidth": 0.8, "zorder": 3} | look,
    )
    crossed = points[points.index.isin(style.constant(rows))]
    style.cross_out(axes, across[crossed.index], 100 * crossed["mean"])
