"""How methods look in figures and charts: colours, markers, and which few of many stand out. Imports no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

# Okabe and Ito's palette, told apart by colour-blind readers; markers tell them apart in print.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
OTHERS = "all others"
"""What the methods that do not stand out are called together."""
FEW = 7
"""Of more methods, only the best stand out."""
BEST = 5
CONTROLS = ("random", "random (filters)", "random-filter (filters)", "random-scratch")
"""What everything is held against stands out, too: labels that studies give the controls."""


def standing_out(methods: Iterable[str], scores: pd.Series | None = None) -> list[str]:
    """The methods that have a colour: all of a few; of more than FEW the BEST by `scores` (by method), and the first control.

    Methods without a score come last. Sorted by name, so that a method keeps its colour from figure to figure.
    """
    known = sorted(set(methods))
    if len(known) <= FEW:
        return known
    ranks = {} if scores is None else scores.dropna().to_dict()
    best = sorted(known, key=lambda method: (-ranks.get(method, -1.0), method))[:BEST]
    control = [method for method in CONTROLS if method in known and method not in best][:1]
    return sorted([*best, *control])
