"""Recall of each class, and its difference from the accuracy.

Source: after Good et al., "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm", NeurIPS 2022.
"""

from __future__ import annotations

import pandas as pd

from sparrow.results.outcomes import Outcomes

METRICS = ("benign", "era", "vra")


def recalls(outcomes: Outcomes) -> pd.DataFrame:
    """One row per class: `class`, and for each metric the recall and the number of images of the class behind it."""
    columns = {}
    for metric, hits in zip(METRICS, (outcomes.correct(), outcomes.robust(), outcomes.verified()), strict=True):
        grouped = hits.groupby(outcomes.labels().loc[hits.index])
        columns[f"recall_{metric}"], columns[f"recall_{metric}_n"] = grouped.mean(), grouped.size()
    return pd.DataFrame(columns).rename_axis("class").reset_index()


def relative(recall: pd.Series, images: pd.Series) -> pd.Series:
    """Recall of each class minus the accuracy, over as many `images` of each class; NaN for a class without one."""
    return recall - (recall * images).sum() / images[recall.notna()].sum()
