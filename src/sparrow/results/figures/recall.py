"""Recall by class: does pruning intensify what was below average?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.results.figures import _style as style
from sparrow.results.recall import intensification, relative

ROWS = {"benign": "benign", "era": "era"}


def draw_recall(source: Path, svg: Path, png: Path, spec: dict) -> None:
    """Above: relative recall of each class, pruned against dense, at the middle ratio. Below: intensification at each ratio."""
    table = style.select(pd.read_csv(source), dataset=spec["dataset"], model=spec["model"])
    dense = style.select(table, stage="dense")
    pruned = style.select(table, stage=spec["stage"])
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    middle = ratios[(len(ratios) - 1) // 2]
    objectives = spec["objectives"]
    figure, grid = style.panels(2 * len(ROWS), len(objectives))
    for number, (metric, title) in enumerate(ROWS.items()):
        pairs = pd.DataFrame(_pairs(dense, pruned, f"recall_{metric}"))
        for column, objective in enumerate(objectives):
            scatter, slope = grid[2 * number, column], grid[2 * number + 1, column]
            chosen = style.select(pairs, objective=objective) if len(pairs) else pairs
            for method in methods:
                look = style.look(methods, method)
                rows = style.select(chosen, method=method) if len(chosen) else chosen
                for _, row in rows.iterrows() if len(rows) else ():
                    if row["ratio"] == middle:
                        scatter.plot(100 * row["dense"], 100 * row["pruned"], linestyle="none", alpha=0.6, **look)
                slopes = rows.groupby("ratio")["slope"].mean() if len(rows) else pd.Series(dtype=float)
                slope.plot([style.position(ratio) for ratio in slopes.index], slopes, label=method, **look)
            scatter.axline((0, 0), slope=1, color="grey", linestyle="--", linewidth=1)
            slope.axhline(1, color="grey", linestyle="--", linewidth=1)
            style.compression_axis(slope, ratios)
            scatter.set_xlabel("dense: recall - mean (points)")
            slope.set_xlabel("pruning ratio")
            if column == 0:
                scatter.set_ylabel(f"{title}, ratio {middle:g}\npruned: recall - mean")
                slope.set_ylabel(f"{title}\nintensification")
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    style.legend_below(figure, grid[1, 0])
    style.write(figure, svg, png)


def _pairs(dense: pd.DataFrame, pruned: pd.DataFrame, column: str) -> list[dict]:
    """Relative recalls of each pruned network beside those of its dense parent."""
    parents = {key: rows.set_index("class")[column] for key, rows in dense.groupby(["objective", "seed"])}
    result = []
    for (objective, seed, method, ratio), rows in pruned.groupby(["objective", "seed", "method", "ratio"]):
        if (objective, seed) in parents:
            before, after = relative(parents[objective, seed]), relative(rows.set_index("class")[column])
            after = after.reindex(before.index)
            slope = intensification(before.to_numpy(), after.to_numpy())
            key = {"objective": objective, "seed": seed, "method": method, "ratio": ratio}
            result.append(key | {"dense": before.to_numpy(), "pruned": after.to_numpy(), "slope": slope})
    return [row for row in result if np.isfinite(row["slope"])]
