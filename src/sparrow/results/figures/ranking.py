"""Methods from best to worst: a panel for each metric, objective, ratio and granularity, a point with its interval for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.granularity import behind_ratio
from sparrow.results.ranking import CONSTANT
from sparrow.results.specs.figures import FigureSpec

DRAWN_FROM = "ranking.csv"
CAPTION = (
    "Methods from best to worst, with 95 % intervals (over seeds where there are several, else over images). Crossed "
    "out, without a rank: a network of the method answers with one class, whatever it sees. Hollow points are worse "
    "than the best, half-filled ones likely so, full ones within the noise. The table of the same name says how that "
    "is decided."
)


@opened(FigureSpec)
def draw_ranking(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw the ranking of one data set and model; hollow: worse than the best; half: likely worse.

    Crossed out, without a rank: a network of the method answers with one class.
    """
    table = style.select(pd.read_csv(source), dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, columns = sorted(table["method"].unique()), sorted(set(zip(table["ratio"], table["granularity"], strict=True)))
    rows = [(objective, metric) for objective in spec.objectives for metric in ("era", "vra")]
    titles = {objective: style.title(spec, objective) for objective in spec.objectives}
    # With a threat, the name of a panel has no room in one line.
    between = ", " if all(titles[objective] == objective for objective in titles) else "\n"
    figure, grid = style.panels(len(rows), len(columns), height=0.5 + 0.16 * len(methods))
    for line, (objective, metric) in zip(grid, rows, strict=True):
        for axes, (ratio, granularity) in zip(line, columns, strict=True):
            panel = style.select(table, objective=objective, metric=metric, ratio=ratio, granularity=granularity)
            panel = panel.sort_values("rank", ascending=False, na_position="first")
            for height, (_, row) in enumerate(panel.iterrows()):
                look = style.look(methods, row["method"])
                reach = np.clip([[row["mean"] - row["low"]], [row["high"] - row["mean"]]], 0, None)
                fill = {"worse": "none", "likely worse": "left"}.get(row["verdict"], "full")
                axes.errorbar(100 * row["mean"], height, xerr=100 * reach, elinewidth=0.8, capsize=2, fillstyle=fill, **look)
                if row["verdict"] == CONSTANT:
                    style.cross_out(axes, [100 * row["mean"]], [height])
            axes.set_yticks(range(len(panel)), panel["method"], fontsize=7)
            axes.set_xlim(-3, 103)
            axes.grid(axis="y", visible=False)
            axes.set_title(f"{titles[objective]}{between}{metric}, {ratio:g}{behind_ratio(granularity)}", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("%")
    style.legend_below(figure)
    style.write(figure, svg, png)
