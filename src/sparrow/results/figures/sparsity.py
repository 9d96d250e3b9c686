"""The share of weights kept in each layer: a line for each method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes

from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = ("layers.csv", "summary.csv")
CAPTION = (
    "The share of weights that is left in each layer, counted in the checkpoints, from the input (1) to the logits. "
    "Methods that keep the same share in every layer lie on a level line. Marks of one layer stand beside one another, so that "
    "none hides another; each ratio has an axis of its own, of a decade or more. A hollow mark on the bottom line: no weight "
    "of the layer is left. Of more than seven methods the best are in colour, with random "
    "pruning, and all others grey."
)


class _Plain(ticker.LogFormatter):
    """Labels of a few ticks within a decade, as 0.6 and not as 6e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _widen(axes: Axes) -> None:
    """Show a decade or more: shares that differ by a tenth are not to look like opposites."""
    low, high = axes.get_ylim()
    if high < 10 * low:
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / 10**0.5, middle * 10**0.5)


@opened(FigureSpec)
def draw_sparsity(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw the kept share of every prunable layer of one data set and model, at each ratio (mean over seeds)."""
    layers, networks = map(pd.read_csv, source)
    looks = style.looks(svg, spec, networks)
    table = style.select(layers, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, ratios = sorted(table["method"].unique()), sorted(table["ratio"].unique())
    objectives = spec.objectives
    names = list(dict.fromkeys(table["layer"]))
    figure, grid = style.panels(len(objectives), max(len(ratios), 1), width=2.4, height=1.7, sharex=True, sharey="col")
    for row, objective in zip(grid, objectives, strict=True):
        row[0].set_ylabel(f"{objective}\nkept weights (%)")
        if not ratios:
            row[0].text(0.5, 0.5, "no network has a result", transform=row[0].transAxes, **style.MESSAGE)
        for axes, ratio in zip(row, ratios, strict=False):
            named = list(filter(looks.stands_out, methods))
            for method in looks.order(methods):
                rows = style.select(table, objective=objective, method=method, ratio=ratio)
                kept = 100 * (1 - rows.groupby("layer")["sparsity"].mean().reindex(names))
                # Methods that keep the same share everywhere would hide each other.
                shift = 0.12 * (named.index(method) - (len(named) - 1) / 2) if method in named else 0.0
                look = looks.line(method, len(names))
                axes.plot([i + shift for i in range(len(names))], kept.mask(kept == 0), **look)
                gone = [i + shift for i in np.flatnonzero(kept == 0)]
                mark = {"linestyle": "none", "marker": "o", **look, "label": None, "markerfacecolor": "white"}
                if gone:
                    axes.plot(gone, [0.0] * len(gone), transform=axes.get_xaxis_transform(), clip_on=False, **mark)
            axes.set_yscale("log")
            _widen(axes)
            axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            # Within a decade other ticks have labels, too.
            axes.yaxis.set_minor_formatter(_Plain())
            axes.set_xticks(range(len(names)), [str(i + 1) for i in range(len(names))])
    for axes, ratio in zip(grid[0], ratios, strict=False):
        axes.set_title(f"ratio {ratio:g}")
    for axes in grid[-1]:
        axes.set_xlabel("layer")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
