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
    "than the best, half-filled ones likely so, full ones within the noise, or level where several are "
    "first. The table of the same name says how that is decided."
)

FILLS = {"likely worse": "left", "worse": "none"}
"""How the marks of verdicts are filled that are not full."""
OTHER = {"color": "#6B7280", "marker": "o"}
"""Style of the methods that do not stand out; their names are beside them."""


@opened(FigureSpec)
def draw_ranking(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Draw the ranking of one data set and model; hollow: worse than the best; half: likely worse.

    Crossed out, without a rank: a network of the method answers with one class.
    """
    ranks = pd.read_csv(source)
    eras = ranks[ranks["metric"] == "era"]
    looks = style.looks(svg, spec, eras.assign(era=eras["mean"], constant=eras["verdict"] == CONSTANT))
    table = style.select(ranks, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    columns = sorted(set(zip(table["ratio"], table["granularity"], strict=True)))
    rows = [(objective, metric) for objective in spec.objectives for metric in ("era", "vra")]
    titles = {objective: style.title(spec, objective) for objective in spec.objectives}
    # With a threat, the name of a panel has no room in one line.
    between = ", " if all(titles[objective] == objective for objective in titles) else "\n"
    longest = max(table.groupby(["objective", "metric", "ratio", "granularity"]).size(), default=1)
    figure, grid = style.panels(len(rows), max(len(columns), 1), height=0.5 + 0.16 * longest)
    for line, (objective, metric) in zip(grid, rows, strict=True):
        if not columns:
            line[0].text(0.5, 0.5, "no network has a result", transform=line[0].transAxes, **style.MESSAGE)
            line[0].set_title(f"{titles[objective]}{between}{metric}", fontsize=8)
        for axes, (ratio, granularity) in zip(line, columns, strict=False):
            panel = style.select(table, objective=objective, metric=metric, ratio=ratio, granularity=granularity)
            # Equals in the order that they have there; from the bottom up.
            panel = panel[::-1].sort_values("rank", ascending=False, na_position="first", kind="stable")
            # From the top down, as far apart in all panels.
            heights = [longest - len(panel) + place for place in range(len(panel))]
            for height, (_, row) in zip(heights, panel.iterrows(), strict=True):
                look = looks.of(row["method"]) if looks.stands_out(row["method"]) else OTHER
                ends = row["mean"] - max(row["low"], 0), min(row["high"], 1) - row["mean"]
                reach = np.clip([[ends[0]], [ends[1]]], 0, None)
                fill = FILLS.get(row["verdict"], "full")
                axes.errorbar(100 * row["mean"], height, xerr=100 * reach, elinewidth=0.8, capsize=2, fillstyle=fill, **look)
                if row["verdict"] == CONSTANT:
                    style.cross_out(axes, [100 * row["mean"]], [height])
            axes.set_yticks(heights, panel["method"], fontsize=7)
            axes.set_ylim(-0.7, longest - 0.3)
            axes.set_xlim(-3, 103)
            axes.grid(axis="y", visible=False)
            axes.set_title(f"{titles[objective]}{between}{metric}, {ratio:g}{behind_ratio(granularity)}", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("%")
    for verdict, fill in {"best, level with it, or within the noise": "full", **FILLS}.items():
        grid[0, 0].plot([], [], linestyle="none", label=verdict, fillstyle=fill, **OTHER)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
