"""How methods look in figures and charts: colours, markers, and which few of many stand out. Imports no matplotlib."""

from __future__ import annotations

import pandas as pd

from sparrow.results.comparable import with_whole_vra

# Okabe and Ito's palette, told apart by colour-blind readers; markers tell them apart in print.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
OTHERS = "all others"
"""What the methods that do not stand out are called together."""
FEW = 7
"""Of more methods, only the best stand out."""
BEST = 5
CONTROLS = ("random", "random-filter", "random-scratch")
"""What everything is held against stands out, too: labels that studies give the controls."""


def label_of(shown: str) -> str:
    """A method's label, without what is behind it where it is shown: of `random (filters)` it is `random`."""
    return shown.partition(" (")[0]


def standing_out(networks: pd.DataFrame) -> list[str]:
    """Labels of the methods that have a colour: all of a few; of more than FEW the BEST, and the first control.

    `networks` are the pruned ones of a whole study, as in summary.csv. The best have the highest mean of the first of era, vra
    and benign accuracy that was measured, over all networks that do not answer with one class; methods without any come last.
    Sorted by name. They are the same for all data sets and models, so that a method looks the same in all figures of a study.
    """
    networks = with_whole_vra(networks)
    labels = networks["method"].map(label_of)
    known = sorted(set(labels))
    if len(known) <= FEW:
        return known
    metric = next((name for name in ("era", "vra", "benign") if name in networks and networks[name].notna().any()), None)
    useful = ~networks["constant"].eq(True) if "constant" in networks else pd.Series(True, networks.index)
    ranks = networks.loc[useful, metric].groupby(labels[useful]).mean().dropna().to_dict() if metric else {}
    best = sorted(known, key=lambda method: (-ranks.get(method, -1.0), method))[:BEST]
    control = [method for method in CONTROLS if method in known and method not in best][:1]
    return sorted([*best, *control])
