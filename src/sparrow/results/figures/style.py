"""The style of all figures, the statistics in them, and their files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparrow.files.atomic import replacing
from sparrow.files.paths import FIGURE_PATTERN, study_table
from sparrow.results.granularity import behind_method
from sparrow.results.looks import COLOURS, OTHERS, label_of, standing_out
from sparrow.results.specs.figures import FigureSpec, PanelsSpec
from sparrow.results.statistics import mean_over_seeds
from sparrow.results.threats import in_words

MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
LINES = ["-", "--", ":", "-."]
"""What tells lines of one marker apart in print."""
HATCHES = ["", "////", "....", "xxxx", "----", "\\\\\\\\", "++++"]
"""What tells the bars of a few methods apart in print."""
FAINT: dict[str, Any] = {"color": "#B4B9C1", "marker": "none", "linewidth": 0.8, "zorder": 1}
"""Style of the methods that do not stand out."""
LEGEND_HANDLE, LEGEND_CHARACTER, LEGEND_ROW = 0.55, 0.07, 0.19
"""Inches in a legend: width of an entry without its text, width of a character, height of a row."""
CONSTANT = "answers with one class"
CROSS: dict[str, Any] = {"color": "black", "marker": "x", "markersize": 6, "linestyle": "none", "zorder": 5}
"""Style of the cross on networks that answer with one class for all images."""
NO_RESULT = "no result"
"""What is said where networks, or what was to be measured on them, failed."""
MESSAGE: dict[str, Any] = {"ha": "center", "va": "center", "color": "grey", "fontsize": 7}
METRICS = {"benign": "benign accuracy", "era": "era (all attacks)", "vra": "vra (any verifier)"}

Points = Sequence[float] | np.ndarray | pd.Series | pd.Index
"""Coordinates along one axis."""

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.5,
        "lines.markersize": 4.5,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "svg.fonttype": "path",
        # Without these two, an SVG differs from run to run.
        "svg.hashsalt": "sparrow",
    }
)


def panels(rows: int, columns: int, width: float = 2.7, height: float = 2.0, **options: Any) -> tuple[Figure, np.ndarray]:
    """A grid of axes, always two-dimensional."""
    return plt.subplots(rows, columns, figsize=(width * columns + 0.6, height * rows + 0.7), squeeze=False, **options)


def looks(svg: Path, spec: PanelsSpec, table: pd.DataFrame) -> Looks:
    """How the methods of a study look in the figure `svg` of it.

    It is told by the study's summary.csv, for which all figures wait; where the figure lies beside none, by `table`, which is
    what it is drawn from, of all data sets and models.
    """
    networks = networks_of_study(svg)
    networks = table if networks is None else networks
    pruned = networks[networks["stage"] == spec.stage]
    return Looks(standing_out(pruned), frozenset(pruned["method"].map(label_of)))


def networks_of_study(svg: Path) -> pd.DataFrame | None:
    """The study's summary.csv, for which all figures wait; None where the figure `svg` lies beside none."""
    summary = svg.absolute().parents[FIGURE_PATTERN.count("/")] / study_table("summary")
    return pd.read_csv(summary) if summary.exists() else None


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = plt.figure(figsize=(5.4, 1.0))
    figure.text(0.5, 0.5, wrapped(text, 80), **MESSAGE | {"fontsize": 9})
    return figure


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width` characters, with the breaks that it has."""
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


@dataclass(frozen=True)
class Looks:
    """How methods look in all figures of a study: those that stand out have a colour and a marker, others are FAINT.

    Methods are asked for as they are shown, ` (filters)` behind their labels or not.
    """

    named: list[str]
    """Labels of those that stand out."""
    every: frozenset[str]
    """Labels of all."""

    @property
    def many(self) -> bool:
        """Whether some do not stand out."""
        return len(self.named) < len(self.every)

    @property
    def width(self) -> float:
        """Inches of a panel of lines: with room for names behind their ends where some stand out."""
        return 3.8 if self.many else 2.7

    def stands_out(self, method: str) -> bool:
        """Whether it has a colour."""
        return label_of(method) in self.named

    def order(self, methods: Iterable[str]) -> list[str]:
        """`methods` as they are drawn: first those that others are to cover, by name."""
        return sorted(methods, key=lambda method: (self.stands_out(method), method))

    def label(self, method: str) -> str:
        """What the legend calls it."""
        return method if self.stands_out(method) else OTHERS

    def of(self, method: str) -> dict[str, Any]:
        """Style of its line."""
        if not self.stands_out(method):
            return dict(FAINT)
        place = self.named.index(label_of(method))
        return {"color": COLOURS[place], "marker": MARKERS[place]}

    def line(self, method: str, points: int = 2) -> dict[str, Any]:
        """Style and label of its line through `points`; one of a single point is a mark."""
        faint = {"marker": "."} if points < 2 and not self.stands_out(method) else {}
        return {"label": self.label(method), **self.of(method), **faint}

    def point(self, method: str) -> dict[str, Any]:
        """Style of its marks where no line joins them."""
        return self.of(method) | {"linestyle": "none"} | ({} if self.stands_out(method) else {"marker": "."})

    def errors(self, method: str, points: pd.DataFrame) -> np.ndarray | None:
        """`error_bars` of its line; those of lines that do not stand out would hide the others."""
        return error_bars(points) if self.stands_out(method) else None

    def name_ends(self, axes: Axes) -> None:
        """Where some methods do not stand out, write the names of those that do behind the ends of their lines in `axes`."""
        ends = {}
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True) if self.many else ():
            line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
            if isinstance(line, Line2D) and label != CONSTANT and self.stands_out(label):
                across, up = (np.asarray(values, dtype=float) for values in line.get_data())
                if np.isfinite(up).any():
                    last = int(np.flatnonzero(np.isfinite(up))[-1])
                    ends[label] = float(across[last]), float(up[last])
        label_ends(axes, ends, {method: self.of(method)["color"] for method in ends})


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], colours: dict[str, str]) -> None:
    """Write the names of methods behind the ends of their lines, (across, up) by method, apart from one another."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda method: (ends[method][1], method))
    places = _apart([(ends[method][1] - low) / (high - low) for method in order], gap=0.085)
    for method, place in zip(order, places, strict=True):
        axes.annotate(
            method,
            ends[method],
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=6.5,
            color=colours[method],
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.4,
                "color": "#888888",
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def _apart(places: list[float], gap: float) -> list[float]:
    """Ascending places in 0..1, moved to be at least `gap` from one another, as little as possible; below 0 without room.

    What would overlap is spread around its middle (pool adjacent violators), so that no line to a name crosses another name.
    """
    blocks: list[list[float]] = []
    for number, place in enumerate(places):
        blocks.append([place - number * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1].extend(last)
    spread = [float(np.mean(block)) for block in blocks for _ in block]
    found = [max(place, 0.0) + number * gap for number, place in enumerate(spread)]
    limit = 1.0
    for number in range(len(found) - 1, -1, -1):
        found[number] = min(found[number], limit)
        limit = found[number] - gap
    return found


def title(spec: FigureSpec, objective: str) -> str:
    """The title of an objective's panels: its label, followed by its threat if those of the figure's objectives differ."""
    words = {one: in_words(spec.threats[one].norm, spec.threats[one].eps) for one in spec.objectives}
    return f"{objective} ({words[objective]})" if len(set(words.values())) > 1 else objective


def compression_axis(axes: Axes, ratios: list[float]) -> None:
    """Set ticks at the study's ratios on an axis that is logarithmic in the share of kept weights."""
    places = [position(ratio) for ratio in ratios]
    # Where nothing is drawn at them, too, the axis is around the ratios.
    axes.dataLim.update_from_data_x(places, ignore=False)
    axes.autoscale_view(scaley=False)
    axes.set_xticks(places, [f"{ratio:g}" for ratio in ratios])
    axes.minorticks_off()


def position(ratio: float) -> float:
    """The coordinate of a pruning ratio on the compression axis."""
    return -np.log10(1 - ratio)


def middle_ratio(table: pd.DataFrame) -> float | None:
    """The ratio at which a figure shows more of each method: of those that most methods of `table` have, the middle one; None
    without any. An N:M pattern has a single ratio, which may be no other method's."""
    methods = table.groupby("ratio")["method"].nunique()
    shared = methods.index[methods == methods.max()].tolist()
    return shared[(len(shared) - 1) // 2] if shared else None


def from_zero(axes: Axes) -> None:
    """Begin the vertical axis of `axes`, and of all panels that share it, at 0, with room for a marker above what is drawn.

    What is drawn afterwards does not move it.
    """
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])


def over_seeds(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Mean and 95 % interval of `value` by ratio: over images with one seed, over seeds with several."""

    def one(rows: pd.DataFrame) -> pd.Series:
        if len(rows) > 1:
            return pd.Series(mean_over_seeds(rows[value].to_numpy()), index=["mean", "low", "high"])
        first = rows.iloc[0]
        return pd.Series([first[value], first[f"{value}_low"], first[f"{value}_high"]], index=["mean", "low", "high"])

    columns = ["seed", value, f"{value}_low", f"{value}_high"]
    present = table.dropna(subset=[value])
    if present.empty:
        return pd.DataFrame(columns=["mean", "low", "high"], dtype=float)
    return pd.DataFrame(present.groupby("ratio")[columns].apply(one))


def constant(rows: pd.DataFrame) -> set[float]:
    """The ratios at which a network answers with one class for all images."""
    return set(rows.loc[rows["constant"].eq(True), "ratio"])


def cross_out(axes: Axes, across: Points, up: Points, **more: Any) -> None:
    """Cross out the points of networks that answer with one class; `legend_below` explains the cross."""
    if len(across):
        axes.plot(across, up, label=CONSTANT, **CROSS, **more)


def images(counts: pd.Series) -> str:
    """The number of images behind a panel, in words; networks that failed, and have seen none, say nothing of it."""
    fewest, most = (counts[counts > 0] if (counts > 0).any() else counts).agg(["min", "max"])
    return f"{fewest} images" if fewest == most else f"{fewest} to {most} images"


def error_bars(points: pd.DataFrame) -> np.ndarray:
    """Distances from the mean to the ends of the interval (2, n), for matplotlib; 0 if there is no interval."""
    return np.nan_to_num(np.array([points["mean"] - points["low"], points["high"] - points["mean"]])).clip(min=0)


def legend_below(figure: Figure, axes: Axes | None = None) -> None:
    """Add a legend of the labels of `axes`, and of crosses, below the figure, which grows by the legend's height."""
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)) if axes else {}
    known.pop(CONSTANT, None)  # It comes last.
    for others in figure.axes:
        known |= {label: handle for handle, label in zip(*others.get_legend_handles_labels(), strict=True) if label == CONSTANT}
    if not known:
        return
    labels, handles = list(known), list(known.values())
    entry = LEGEND_HANDLE + LEGEND_CHARACTER * max(map(len, labels))
    columns = max(1, min(len(labels), int(figure.get_figwidth() / entry)))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (math.ceil(len(labels) / columns) - 1))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def write(figure: Figure, svg: Path, png: Path) -> None:
    """Write the figure as SVG, PNG and, beside the SVG, PDF, with the same bytes for the same picture, and close it.

    A panel in which nothing was drawn says so.
    """
    say_what_is_empty(figure)
    undated = {"metadata": {"CreationDate": None}}
    files: dict[Path, dict[str, Any]] = {
        svg: {"metadata": {"Date": None}},
        png: {"dpi": 150, "metadata": {"Software": None}},
        svg.with_suffix(".pdf"): undated,
    }
    for path, options in files.items():
        with replacing(path) as partial:
            figure.savefig(partial, format=path.suffix[1:], **options)
    plt.close(figure)


def say_what_is_empty(figure: Figure) -> None:
    """Write NO_RESULT into the panels of `figure` in which nothing was drawn."""
    for axes in figure.axes:
        if axes.axison and axes.get_visible() and not axes.texts and _is_empty(axes):
            axes.text(0.5, 0.5, NO_RESULT, transform=axes.transAxes, **MESSAGE)


def _is_empty(axes: Axes) -> bool:
    """Whether nothing was drawn but lines across all of it, such as that of the threat, and what has no point."""
    points = [line.get_xydata() for line in axes.lines if line.get_transform() is axes.transData]
    points += [path.vertices for one in axes.collections if not isinstance(one, PathCollection) for path in one.get_paths()]
    points += [one.get_offsets() for one in axes.collections if isinstance(one, PathCollection)]
    found = any(np.isfinite(np.ma.filled(np.ma.asarray(one, dtype=float), np.nan)).all(axis=1).any() for one in points)
    return not (found or axes.patches or axes.images)


def by_granularity(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ` (filters)` after the names of methods that remove filters, of which their ratio is the share, and
    ` (2:4)` after those that keep 2 of every 4 weights."""
    return table.assign(method=table["method"] + table["granularity"].map(behind_method).astype(str))


def select(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows of `table` with these values, by column."""
    for key, value in values.items():
        table = table[table[key] == value]
    return table
