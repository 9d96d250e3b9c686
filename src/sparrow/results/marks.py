"""What is wrong with a network as a whole, though its accuracies look like others', in words."""

from __future__ import annotations

import pandas as pd


def sentences(summary: pd.DataFrame) -> list[str]:
    """A sentence on networks that answer with one class, and one on dense networks at chance, where there are such.

    A network is at chance if its benign accuracy is no better, within its interval, than naming the most frequent class.
    """
    constant = summary[summary["constant"].eq(True)]
    dense = summary[(summary["stage"] == "dense") & (summary["benign_low"] <= summary["chance"])]
    lines = []
    if len(constant):
        lines.append(f"{len(constant)} of {len(summary)} networks answer with one class, whatever they see (column `constant`)")
    if len(dense):
        names = ", ".join(dict.fromkeys(f"{row.dataset}/{row.model}/{row.objective}" for row in dense.itertuples()))
        lines.append(f"the dense networks of {names} are no better than chance: what pruning preserves of them says nothing")
    return lines
