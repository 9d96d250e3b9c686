"""Recall by class, pruned against dense, and its intensification at each ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.recall import relative
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = ("recall.csv", "intensification.csv", "summary.csv")
CAPTION = (
    "Does pruning intensify what was below the accuracy? Relative recall is a class's recall minus the accuracy. "
    "Above: each class of each pruned network against the same class of its dense parent. Below: the slope of a line "
    "through such points and the origin, without what noise adds to it, and its 95 % interval (over images, and over "
    "seeds where there are several). Above 1, pruning makes weak classes weaker; below 1, it evens them out. No "
    "point: the dense network's recalls differ by no more than noise, so that there is nothing to intensify; with few "
    "test images a class that is so."
)

POINTS: dict[str, Any] = {"alpha": 0.6}
ROWS = {"benign": "benign", "era": "era"}


@opened(FigureSpec)
def draw_recall(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw recall.csv and intensification.csv of one data set and model.

    Above: relative recall of each class, pruned against dense, at the middle ratio. Below: intensification at each ratio with
    its interval; no point where the dense recalls differ by no more than noise.
    """
    recalls, slopes, networks = map(pd.read_csv, source)
    looks = style.looks(svg, spec, networks)
    table, slopes = (style.select(one, dataset=spec.dataset, model=spec.model) for one in (recalls, slopes))
    slopes = style.select(slopes, stage=spec.stage).rename(columns={"intensification": "mean"}).dropna(subset="mean")
    dense = style.select(table, stage="dense")
    pruned = style.select(table, stage=spec.stage)
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    middle = style.middle_ratio(pruned)
    objectives = spec.objectives
    figure, grid = style.panels(2 * len(ROWS), len(objectives), width=looks.width)
    for number, (metric, title) in enumerate(ROWS.items()):
        pairs = pd.DataFrame(_pairs(dense, pruned, metric))
        for column, objective in enumerate(objectives):
            scatter, slope = grid[2 * number, column], grid[2 * number + 1, column]
            chosen = style.select(pairs, objective=objective) if len(pairs) else pairs
            for method in looks.order(methods):
                rows = style.select(chosen, method=method) if len(chosen) else chosen
                for _, row in rows.iterrows() if len(rows) else ():
                    if row["ratio"] == middle:
                        scatter.plot(100 * row["dense"], 100 * row["pruned"], **looks.point(method), **POINTS)
                points = style.select(slopes, objective=objective, metric=metric, method=method).sort_values("ratio")
                slope.errorbar(
                    [style.position(ratio) for ratio in points["ratio"]],
                    points["mean"],
                    looks.errors(method, points),
                    capsize=2,
                    elinewidth=0.8,
                    **looks.line(method),
                )
            if style.select(slopes, objective=objective, metric=metric).empty:
                compared = not style.select(dense, objective=objective).empty
                words = "classes differ by\nno more than noise" if compared else "no dense network\nto compare with"
                slope.text(0.5, 0.6, words, **style.MESSAGE, transform=slope.transAxes)
                slope.set_ylim(0, 2)
            scatter.axline((0, 0), slope=1, color="grey", linestyle="--", linewidth=1)
            slope.axhline(1, color="grey", linestyle="--", linewidth=1)
            style.compression_axis(slope, ratios)
            looks.name_ends(slope)
            scatter.set_xlabel("dense: recall - accuracy (points)")
            slope.set_xlabel("pruning ratio")
            if column == 0:
                at = "" if middle is None else f", ratio {middle:g}"
                scatter.set_ylabel(f"{title}{at}\npruned: recall - accuracy")
                slope.set_ylabel(f"{title}\nintensification")
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    style.legend_below(figure, grid[1, 0])
    style.write(figure, svg, png)


def _pairs(dense: pd.DataFrame, pruned: pd.DataFrame, metric: str) -> list[dict]:
    """Relative recalls of each pruned network beside those of its dense parent."""

    def of(rows: pd.DataFrame) -> pd.Series:
        classes = rows.set_index("class")
        return relative(classes[f"recall_{metric}"], classes[f"recall_{metric}_n"])

    parents = {key: of(rows) for key, rows in dense.groupby(["objective", "seed"])}
    result = []
    for (objective, seed, method, ratio), rows in pruned.groupby(["objective", "seed", "method", "ratio"]):
        if (objective, seed) in parents:
            before = parents[objective, seed]
            key = {"objective": objective, "seed": seed, "method": method, "ratio": ratio}
            result.append(key | {"dense": before.to_numpy(), "pruned": of(rows).reindex(before.index).to_numpy()})
    return result
