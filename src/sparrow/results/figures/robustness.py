"""Benign accuracy, era and vra of each method in one panel, with the gap between era and vra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.comparable import with_whole_vra
from sparrow.results.figures import style
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "summary.csv"
WITHOUT_PRUNING = True
CAPTION = (
    "Benign accuracy, era and vra in one panel, a row for each method (of more than seven the best, and random "
    "pruning), from the dense network (ratio 0) on. Shaded: "
    "images that no attack broke and no verifier proved, of which nothing is known. Error bars are 95 % intervals; "
    "crossed out: a network that answers with one class, whatever it sees. The legend says on how many images each "
    "rests: where these differ, lines of one panel are not of the same images."
)

# As in the figure of decisions: red for attacks, blue for proofs.
LOOKS = {
    "benign": {"color": "#000000", "marker": "o"},
    "era": {"color": "#D55E00", "marker": "s"},
    "vra": {"color": "#0072B2", "marker": "^"},
}

IN_SIGHT = 3
"""Rows below one title."""


@opened(FigureSpec)
def draw_robustness(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw benign accuracy, era and vra of one data set and model at each ratio, that of the dense network (0) first.

    A row for each method, a column for each objective; shaded: the images that no attack broke and no verifier proved.
    """
    networks = style.by_granularity(with_whole_vra(pd.read_csv(source)))
    looks, table = style.looks(svg, spec, networks), style.select(networks, dataset=spec.dataset, model=spec.model)
    table = table[table["stage"].isin(["dense", spec.stage])]
    ratios, objectives = sorted(table["ratio"].unique()), spec.objectives
    # Where nothing is pruned, there is one row for the dense network.
    pruned = sorted(set(table["method"]) - {"dense"})
    methods = list(filter(looks.stands_out, pruned)) or ["dense"]
    figure, grid = style.panels(len(methods), len(objectives), height=1.3, sharex=True, sharey=True)
    for row, method in zip(grid, methods, strict=True):
        row[0].set_ylabel(f"{method}\naccuracy (%)")
        for axes, objective in zip(row, objectives, strict=True):
            rows = style.select(table[table["method"].isin(["dense", method])], objective=objective)
            means = {}
            for metric, look in LOOKS.items():
                # A network that failed leaves a gap in the line.
                points = style.over_seeds(rows, metric).reindex(ratios)
                means[metric] = 100 * points["mean"].to_numpy(dtype=float)
                axes.errorbar(
                    [style.position(ratio) for ratio in ratios],
                    means[metric],
                    100 * style.error_bars(points),
                    label=_label(metric, table),
                    capsize=2,
                    elinewidth=0.8,
                    **look,
                )
                crossed = [ratio for ratio in ratios if ratio in style.constant(rows)]
                heights = [means[metric][ratios.index(ratio)] for ratio in crossed]
                style.cross_out(axes, [style.position(ratio) for ratio in crossed], heights)
            axes.fill_between(
                [style.position(ratio) for ratio in ratios],
                means["vra"],
                # On other images than those of the era, the vra may be above it; then nothing is unknown.
                np.fmax(means["era"], means["vra"]),
                where=np.isfinite(means["era"]),
                color="grey",
                alpha=0.25,
                linewidth=0,
                label="neither broken nor proved",
            )
            style.compression_axis(axes, ratios)
    # Where rows are many, the first is out of sight.
    for row in grid if len(grid) > IN_SIGHT else grid[:1]:
        for axes, objective in zip(row, objectives, strict=True):
            axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio (0: dense)")
    grid[0, 0].set_ylim(-3, 103)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _label(metric: str, table: pd.DataFrame) -> str:
    """A legend's label: the metric and the number of its images, without networks that failed."""
    counts = table.loc[table[f"{metric}_n"] > 0, f"{metric}_n"]
    return f"{style.METRICS[metric]}, {style.images(counts)}" if len(counts) else style.METRICS[metric]
