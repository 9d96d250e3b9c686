"""Confidence intervals of accuracies, of ratios of two accuracies, and of means over seeds."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binomtest, norm, t

LEVEL = 0.95


def accuracy(hits: np.ndarray) -> tuple[float, float, float]:
    """Share of True in `hits` (n,) and its 95 % Wilson interval; NaN if `hits` is empty."""
    if len(hits) == 0:
        return math.nan, math.nan, math.nan
    low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="wilson")
    return float(hits.mean()), float(low), float(high)


def preserved(pruned: np.ndarray, dense: np.ndarray) -> tuple[float, float, float]:
    """`mean(pruned) / mean(dense)` for outcomes (n,) of the same images, and its 95 % interval.

    The interval is Wald's on the log scale for a ratio of paired proportions (Fagerland, Lydersen and Laake,
    "Statistical Analysis of Contingency Tables", 2017): with a images right in both, b only in the first and c
    only in the second, `SE(log ratio) = sqrt((b + c) / ((a + b)(a + c)))`. All NaN if `dense` is never right; the
    interval alone is NaN if `pruned` is never right.
    """
    first, second = int(pruned.sum()), int(dense.sum())
    if second == 0:
        return math.nan, math.nan, math.nan
    ratio = first / second
    if first == 0:
        return ratio, math.nan, math.nan
    error = norm.ppf(0.5 + LEVEL / 2) * math.sqrt(int((pruned != dense).sum()) / (first * second))
    return ratio, ratio * math.exp(-error), ratio * math.exp(error)


def mean_over_seeds(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of at least two values (n,) and its 95 % Student interval."""
    mean = float(values.mean())
    error = float(t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - error, mean + error
