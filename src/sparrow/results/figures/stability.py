"""The share of unstable ReLUs, by pruning ratio, and by layer at the middle ratio."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib import ticker

from sparrow.results.figures import _style as style

DRAWN_FROM = "stability.csv"
WITHOUT_PRUNING = True


def draw_stability(source: Path, svg: Path, png: Path, spec: dict) -> None:
    """Draw the share of unstable ReLUs of one data set and model. Above: in all layers. Below: in each; dashed: dense."""
    table = style.select(pd.read_csv(source), dataset=spec["dataset"], model=spec["model"])
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec["stage"]))
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    middle = ratios[(len(ratios) - 1) // 2] if ratios else None
    objectives = spec["objectives"]
    figure, grid = style.panels(2, len(objectives), sharey="row")
    for column, objective in enumerate(objectives):
        above, below = grid[:, column]
        for method in methods:
            rows, look = style.select(pruned, objective=objective, method=method), style.look(methods, method)
            # A network that failed leaves a gap.
            points = _unstable(rows, "ratio").reindex(ratios)
            above.errorbar(
                [style.position(ratio) for ratio in ratios],
                points["mean"],
                style.error_bars(points),
                label=method,
                capsize=2,
                elinewidth=0.8,
                **look,
            )
            points = _unstable(style.select(rows, ratio=middle), "layer")
            below.plot(points.index, points["mean"], **look)
        parents = style.select(dense, objective=objective)
        if len(parents):
            line = {"color": "grey", "linestyle": "--", "linewidth": 1}
            above.axhline(_unstable(parents, "ratio")["mean"].iloc[0], label="dense", **line)
            points = _unstable(parents, "layer")
            below.plot(points.index, points["mean"], marker=".", **line)
        style.compression_axis(above, ratios)
        below.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        above.set_title(style.title(spec, objective))
        above.set_xlabel("pruning ratio")
        below.set_xlabel("layer")
    grid[0, 0].set_ylabel("unstable ReLUs (%)\nall layers")
    grid[1, 0].set_ylabel("unstable ReLUs (%)" + (f"\nratio {middle:g}" if ratios else ""))
    for row in grid:
        row[0].set_ylim(bottom=0)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _unstable(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Percent of the ReLUs that are unstable by `key`: mean over seeds, lowest and highest."""
    sums = rows.groupby([key, "seed"])[["unstable", "neurons"]].sum().astype(float)
    shares = 100 * sums["unstable"] / sums["neurons"]
    groups = shares.groupby(key)
    return pd.DataFrame({"mean": groups.mean(), "low": groups.min(), "high": groups.max()})
