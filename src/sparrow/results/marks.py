"""Warnings of networks that are useless as a whole, though their accuracies may look like others'."""

from __future__ import annotations

import pandas as pd

OF_CONSTANT = ("the gradient is 0 at the start of", "no adversarial image at any distance for")
"""How those warnings of an attack begin that a network which answers with one class gives, because it does."""


def beside_constant(warning: str) -> str:
    """Of the warnings of an attack on a network that answers with one class, those that this mark does not say already."""
    return "; ".join(one for one in warning.split("; ") if not one.startswith(OF_CONSTANT))


def sentences(summary: pd.DataFrame) -> list[str]:
    """At most two sentences: on networks that answer with one class, and on dense networks at chance.

    A network is at chance if its benign accuracy is not told, by its interval, from that of naming the most frequent class.
    """
    constant = summary[summary["constant"].eq(True)]
    dense = summary[(summary["stage"] == "dense") & (summary["benign_low"] <= summary["chance"])]
    lines = []
    if len(constant):
        lines.append(f"{len(constant)} of {len(summary)} networks answer with one class, whatever they see (column `constant`)")
    if len(dense):
        names = ", ".join(dict.fromkeys(f"{row.dataset}/{row.model}/{row.objective}" for row in dense.itertuples()))
        lines.append(f"the dense networks of {names} are not told from chance: what pruning preserves of them says little")
    return lines
