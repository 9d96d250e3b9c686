"""Security curves: accuracy against the radius, a panel for each objective and a few ratios, a line for each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sparrow import radius
from sparrow.files.csv_table import EXACT
from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "security.csv"
WITHOUT_PRUNING = True
CAPTION = (
    "Accuracy against the radius at the lowest, the middle and the highest ratio: era (lines) and vra (hollow, with "
    "95 % intervals), means over seeds; dashed: the dense network; upright: the radius of the threat. The era is that "
    "of all attacks that were run at a radius, and of those that seek the nearest adversarial image, which alone "
    "speak between these radii: an upper bound, the looser the fewer there are. Crossed out: a network that answers "
    "with one class."
)

DENSE = {"color": "grey", "marker": "p"}
MARKS = 5
"""Approximate number of markers on a curve."""


@opened(FigureSpec)
def draw_security(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw era (lines) and vra (hollow) of one data set and model at the lowest, middle and highest ratio; dashed: dense."""
    curves = pd.read_csv(source, converters=EXACT)
    looks, table = style.looks(svg, spec, curves), style.select(curves, dataset=spec.dataset, model=spec.model)
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec.stage))
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    shown = sorted({ratios[0], ratios[(len(ratios) - 1) // 2], ratios[-1]}) if ratios else []
    # Where nothing is pruned, there is one row for the dense networks.
    parts = {f"ratio {ratio:g}\n": style.select(pruned, ratio=ratio) for ratio in shown} or {"": pruned}
    objectives = spec.objectives
    # Panels share an axis only if their norms are the same.
    norms = {spec.threats[objective].norm for objective in objectives}
    radii = {radius.text(spec.threats[objective].eps) for objective in objectives}
    denominators = {text.partition("/")[2] for text in radii}
    fractions = len(denominators) == 1 and denominators != {""}
    own = f"the threat's eps, {', '.join(radii)}" if fractions and len(radii) == 1 else "the threat's eps"
    figure, grid = style.panels(
        len(parts), len(objectives), width=looks.width, sharex=True if len(norms) == 1 else "col", sharey=True
    )
    for row, (title, part) in zip(grid, parts.items(), strict=True):
        row[0].set_ylabel(f"{title}accuracy (%)")
        for axes, objective in zip(row, objectives, strict=True):
            axes.axvline(spec.threats[objective].eps, color="black", linewidth=0.6, label=own)
            axes.plot([], [], color="black", label="era (line)")
            axes.plot([], [], color="black", linestyle=":", linewidth=0.8, marker="o", fillstyle="none", label="vra (hollow)")
            _curves(axes, style.select(dense, objective=objective), 0, linestyle="--", label="dense", **DENSE)
            for place, method in enumerate(looks.order(methods)):
                rows = style.select(part, objective=objective, method=method)
                _curves(axes, rows, place, **looks.line(method))
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
        axes.set_xlim(left=0)
    for axes in grid[-1]:
        axes.set_xlabel("eps")
        if fractions:
            _in_fractions(axes, int(*denominators))
    grid[0, 0].set_ylim(-3, 103)
    for axes in grid.flat:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _in_fractions(axes: Axes, below: int) -> None:
    """Set ticks at whole multiples of `1/below`, as fractions."""
    last = axes.get_xlim()[1]
    found = MaxNLocator(nbins=4, integer=True, steps=[1, 2, 4, 8, 10]).tick_values(0, last * below)
    places = [round(place) for place in found if place <= last * below]
    axes.set_xticks([place / below for place in places], [f"{place}/{below}" if place else "0" for place in places])
    axes.set_xlim(right=last)


def _curves(axes: Axes, rows: pd.DataFrame, place: int, **look: Any) -> None:
    """Draw the era at each radius of networks that differ by seed alone, and their vra if there is one."""
    era, vra = (_over_radii(rows, metric) for metric in ("era", "vra"))
    step = max(1, len(era) // MARKS)
    crossed = era[era.index.isin(style.constant(rows.assign(ratio=rows["eps"])))].iloc[:: 3 * step]
    style.cross_out(axes, crossed.index, 100 * crossed["mean"])
    # The markers of one method fall between those of another.
    axes.plot(era.index, 100 * era["mean"], markevery=(place % step, step), **look)
    axes.errorbar(
        vra.index,
        100 * vra["mean"],
        100 * style.error_bars(vra),
        color=look["color"],
        marker=look["marker"],
        fillstyle="none",
        linestyle=":",
        linewidth=0.8,
        zorder=look.get("zorder", 2),
        capsize=2,
        elinewidth=0.8,
    )


def _over_radii(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and 95 % interval by radius; `over_seeds` groups by ratio, of which there is only one here."""
    return style.over_seeds(rows.assign(ratio=rows["eps"]), metric)
