"""Per-class recall, and whether pruning intensifies its differences.

Relative recall is a class's recall minus the mean over the classes. If pruned networks' relative recalls are the dense
network's times more than 1, pruning makes weak classes weaker: it intensifies. Source: after Good et al., "Recall
Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm", NeurIPS 2022.
"""

from __future__ import annotations

import numpy as np
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


def relative(recall: pd.Series) -> pd.Series:
    """Recall of each class minus their mean."""
    return recall - recall.mean()


def intensification(dense: np.ndarray, pruned: np.ndarray) -> float:
    """Slope b of the least-squares fit `pruned = b * dense` through the origin, for relative recalls (n,); NaN if all are 0."""
    square = float((dense * dense).sum())
    return float((dense * pruned).sum()) / square if square > 0 else float("nan")
