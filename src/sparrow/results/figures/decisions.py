"""The shares of images that each bound and each attack has decided: a bar for each network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.files.csv_table import EXACT
from sparrow.files.specs import opened
from sparrow.results.figures import style
from sparrow.results.specs.figures import MeasuredFigureSpec
from sparrow.results.threats import in_words

DRAWN_FROM = "decisions.csv"
WITHOUT_PRUNING = True
CAPTION = (
    "What the study knows of each image, all seeds together, and what decided it: from the left what is falsified, "
    "unknown and verified, a bar for each network. An image counts once, verified by the first of the study's verifiers "
    "that proves it, so that the share that is verified is the vra; falsified are images that an attack breaks, too, and what "
    "is misclassified is wrong as it is, without an attack. The threat stands above; decisions.csv has each verifier by "
    "itself. A cross behind a bar: the network of a seed, or of several, answers with one class, whatever it sees."
)

# From what costs accuracy to the cheapest proof. Neighbours differ in lightness, for print and for colour-blind readers.
SEGMENTS = {
    ("falsified", "misclassified"): "#67000D",
    ("falsified", "attack"): "#D7301F",
    ("falsified", "branch-and-bound"): "#FDAE6B",
    ("unknown", "nothing"): "#BDBDBD",
    ("verified", "branch-and-bound"): "#08306B",
    ("verified", "alpha-crown"): "#3182BD",
    ("verified", "crown"): "#9ECAE1",
    ("verified", "crown-ibp"): "#238B45",
    ("verified", "ibp"): "#A1D99B",
}
# In print, and where red and green are one.
HATCHES = {
    ("falsified", "attack"): "////",
    ("falsified", "branch-and-bound"): "....",
    ("verified", "branch-and-bound"): "||||",
    ("verified", "alpha-crown"): "\\\\\\\\",
    ("verified", "crown"): "....",
    ("verified", "crown-ibp"): "xxxx",
    ("verified", "ibp"): "----",
}
# For bounds that are not in SEGMENTS, in turns.
OTHERS = {"falsified": ["#FEE391", "#EC7014"], "unknown": ["#D9D9D9"], "verified": ["#01665E", "#80CDC1", "#C7EAE5"]}
BESIDE = 103
"""Where on the axis, in percent, a bar is crossed out."""
LABELS = {("unknown", "nothing"): "unknown", ("falsified", "misclassified"): "misclassified"}


@opened(MeasuredFigureSpec)
def draw_decisions(source: Path, svg: Path, png: Path, spec: MeasuredFigureSpec) -> None:
    """Draw the shares of images (all seeds together) by what decided them, of one data set and model, by all verifiers and
    attacks together.

    A bar for each network, a column for each objective; from the left what is falsified, unknown and verified.
    `spec` says which of the `objectives` have a vra, `measured`, and names their `threats`.
    """
    table = style.select(pd.read_csv(source, converters=EXACT), dataset=spec.dataset, model=spec.model)
    table = table[table["stage"].isin(["dense", spec.stage]) & table["verifier"].isna()]
    objectives = spec.objectives
    shown = {one: style.select(table, objective=one) for one in objectives}
    table = pd.concat(shown.values())
    bars = sorted(set(zip(table["method"], table["ratio"], strict=True)), key=lambda bar: (bar[0] != "dense", bar))
    methods = list(dict.fromkeys(method for method, _ in bars))
    # From the top down, with a little room between one method and the next.
    places = [-(number + 0.5 * methods.index(method)) for number, (method, _) in enumerate(bars)]
    figure, grid = style.panels(1, len(objectives), height=0.9 + 0.16 * (len(bars) + 0.5 * len(methods)), sharey=True)
    colours = _colours(table)
    for axes, (objective, rows) in zip(grid[0], shown.items(), strict=True):
        counts = rows.groupby(["status", "decided", "method", "ratio"])["images"].sum()
        seen = rows.groupby(["method", "ratio"])["images"].sum().reindex(bars)
        left = np.zeros(len(bars))
        for (status, decided), colour in colours.items():
            images = [counts.get((status, decided, *bar), 0) for bar in bars]
            shares = (100 * pd.Series(images, index=seen.index) / seen).fillna(0).to_numpy(dtype=float)
            label = LABELS.get((status, decided), f"{status}: {decided}")
            hatch = HATCHES.get((status, decided), "")
            axes.barh(places, shares, 0.85, left, color=colour, edgecolor="white", linewidth=0.3, label=label, hatch=hatch)
            left += shares
        missing = style.NO_RESULT if "vra" in spec.measured[objective] else "not verified"
        for place in np.array(places)[seen.isna()]:
            axes.text(2, place, missing, color="grey", fontsize=6, va="center")
        axes.set_title(_title(objective, rows, spec.threats[objective].norm))
        crossed = _constant(svg, spec, objective)
        heights = [place for place, bar in zip(places, bars, strict=True) if bar in crossed]
        style.cross_out(axes, [BESIDE] * len(heights), heights, clip_on=False)
        # The title is out of sight where there are many bars.
        axes.set_xlabel(f"{objective}: % of {style.images(rows['seen'])}" if len(rows) else f"{objective}: % of images")
        axes.set_xlim(0, 100)
        axes.set_yticks(places, ["dense" if method == "dense" else f"{method} {ratio:g}" for method, ratio in bars], fontsize=7)
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.01)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _constant(svg: Path, spec: MeasuredFigureSpec, objective: str) -> set[tuple[str, float]]:
    """Method and ratio of the networks of an objective that answer with one class, by the study's summary.csv."""
    networks = style.networks_of_study(svg)
    if networks is None:
        return set()
    own = style.select(networks, dataset=spec.dataset, model=spec.model, objective=objective)
    own = own[own["constant"].eq(True) & own["stage"].isin(["dense", spec.stage])]
    return set(zip(own["method"], own["ratio"], strict=True))


def _title(objective: str, rows: pd.DataFrame, norm: str) -> str:
    """A panel's title: the objective, and below it the threat."""
    return objective if rows.empty else f"{objective}\n{in_words(norm, rows['eps'].iloc[0])}"


def _colours(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The segments of a bar in their order, each with its colour; unknown names come last within their status."""
    present = set(zip(table["status"], table["decided"], strict=True))
    result: dict[tuple[str, str], str] = {}
    for status, spare in OTHERS.items():
        result |= {key: colour for key, colour in SEGMENTS.items() if key in present and key[0] == status}
        others = sorted(key for key in present - set(SEGMENTS) if key[0] == status)
        result |= {key: spare[turn % len(spare)] for turn, key in enumerate(others)}
    return result
