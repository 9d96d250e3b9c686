"""Columns that say what a method is, and what all columns of that kind mean."""

from __future__ import annotations

import pandas as pd

from sparrow.results.page.grid import Column, texts

MEANINGS = {
    "prunes": "When the method prunes: after, before or during training",
    "steps": "Whether all goes at once or in several steps",
    "removes": "What is removed: weights, N of every M of them, or filters",
    "within": "Among what it is chosen which go first: those of a layer, or of the whole network",
    "criterion": "What goes first, in the terms of the Adversarial Pruning Benchmark (LWM: lowest weight magnitude)",
}
STAGE = "Which network: dense (before pruning), pruned (just pruned), finetuned (trained on after pruning)"


def fact_columns(facts: pd.DataFrame) -> list[Column]:
    """Those of `facts`, hidden at first."""
    return [
        Column(name, "text", texts(facts[name]), shown=False, chosen_by=True, says=MEANINGS.get(name, ""))
        for name in map(str, facts)
    ]
