"""The intensification of weak classes by pruning: the slope of pruned against dense relative recalls, with its interval.

The relative recall of a class is its recall minus the accuracy, over the same images. Above 1, the slope of a line through
the origin says that pruning makes weak classes weaker. Source: after Good et al., "Recall Distortion in Neural Network
Pruning and the Undecayed Pruning Algorithm", NeurIPS 2022.

Recalls of few images are noisy, and noise in the dense ones pulls the least-squares slope towards 0: with 15 images a class,
recalls of 0.95 to 0.99 and no intensification at all its median is 0.3. So the noise's own share of both sums is taken
away (the moment estimator of a regression with errors in both variables, Fuller, "Measurement Error Models", 1987, sec. 1.2:
what one gets from dense recalls of one half of the images against pruned ones of the other half, on average over all
halvings). The interval is Fieller's for a ratio: there is none, and no slope, where the dense recalls differ by no more than
noise. Its variances have the two parts of the ranking's: testing on other images, and training again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from sparrow.files.paths import CELL_COLUMNS
from sparrow.results.recall import METRICS
from sparrow.results.statistics import LEVEL

CELL = [*CELL_COLUMNS, "stage"]
COLUMNS = [*CELL, "metric", "seeds", "classes", "images", "intensification", "low", "high", "uncorrected", "verdict"]
INTENSIFIES, EVENS_OUT, NOISE = "intensifies", "evens out", "within the noise"
ALIKE, CONSTANT = "dense recalls differ by no more than noise", "constant"


class Pair(NamedTuple):
    """A pruned network and its dense parent: the identity, and for each metric which images each gets right (by index)."""

    identity: dict[str, Any]
    labels: pd.Series
    dense: dict[str, pd.Series]
    pruned: dict[str, pd.Series]
    constant: bool
    """Whether the pruned network answers with one class for all images, so that its recalls say nothing of weak classes."""


class Slope(NamedTuple):
    """An intensification with its 95 % interval, all NaN where the dense recalls differ by no more than noise; and the
    least-squares slope without correction."""

    value: float
    low: float
    high: float
    uncorrected: float


def intensifications(pairs: Iterable[Pair]) -> pd.DataFrame:
    """One row per cell (seeds together) and metric that has images of at least two classes."""
    groups: dict[tuple, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(tuple(pair.identity[key] for key in CELL), []).append(pair)
    rows = [
        dict(zip(CELL, key, strict=True)) | {"metric": metric} | row
        for key, group in groups.items()
        for metric in METRICS
        for row in _row(group, metric)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(pairs: list[Pair], metric: str) -> Iterator[dict[str, Any]]:
    tables = [pd.DataFrame({"dense": pair.dense[metric], "pruned": pair.pruned[metric]}).dropna() for pair in pairs]
    seen = tables[0].index
    for table in tables[1:]:
        seen = seen.intersection(table.index)
    labels = pairs[0].labels.reindex(seen)
    # A class of one image has no variance.
    seen = seen[labels.groupby(labels).transform("size").to_numpy() > 1]
    classes_of = labels.loc[seen].to_numpy()
    classes = len(np.unique(classes_of))
    if classes < 2:
        return
    dense, pruned = (
        np.column_stack([table.loc[seen, name].to_numpy(dtype=float) for table in tables]) for name in ("dense", "pruned")
    )
    found = slope(dense, pruned, classes_of)
    constant = any(pair.constant for pair in pairs)
    if constant:
        found = found._replace(value=np.nan, low=np.nan, high=np.nan)
    yield {
        "seeds": len(pairs),
        "classes": classes,
        "images": len(seen),
        **dict(zip(("intensification", "low", "high", "uncorrected"), found, strict=True)),
        "verdict": CONSTANT if constant else verdict(found),
    }


def verdict(found: Slope) -> str:
    """The verdict on a slope: whether its interval is above 1 (no intensification), below 1 or around it."""
    if np.isnan(found.value):
        return ALIKE
    return INTENSIFIES if found.low > 1 else EVENS_OUT if found.high < 1 else NOISE


def slope(dense: np.ndarray, pruned: np.ndarray, labels: np.ndarray) -> Slope:
    """The intensification, from hits `dense` and `pruned` (images, seeds) on images with these `labels` (images,).

    Every class has at least two images. With relative recalls d and p (one a class) it is N / D, means over the seeds of
    N = sum d p - E[noise] and D = sum d d - E[noise].
    """
    _, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = (counts / counts.sum())[:, None]
    belongs = np.eye(len(counts))[where]
    recalls = [belongs.T @ hits / counts[:, None] for hits in (dense, pruned)]
    gaps = [hits - recall[where] for hits, recall in zip((dense, pruned), recalls, strict=True)]
    d, p = (recall - (weights * recall).sum(axis=0) for recall in recalls)

    def noise(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Expected share (seeds,) of noise in a sum over the classes of a product of relative recalls."""
        variance = belongs.T @ (first * second) / (counts * (counts - 1))[:, None]
        return ((1 - 2 * weights) * variance).sum(axis=0) + len(counts) * (weights**2 * variance).sum(axis=0)

    sums = np.array([(d * p).sum(axis=0), (d * d).sum(axis=0)])
    by_seed = sums - np.array([noise(gaps[0], gaps[1]), noise(gaps[0], gaps[0])])
    # To first order, how much each image moves the two means.
    towards_d, towards_p = (d - weights * d.sum(axis=0))[where], (p - weights * p.sum(axis=0))[where]
    moves = np.array([(towards_p * gaps[0] + towards_d * gaps[1]).mean(axis=1), (2 * towards_d * gaps[0]).mean(axis=1)])
    parts = [((moves / (counts * (counts - 1))[where]) @ moves.T, len(labels) - len(counts))]
    seeds = dense.shape[1]
    if seeds > 1:
        parts.append((np.cov(by_seed) / seeds, seeds - 1))
    uncorrected = float(sums[0].mean() / sums[1].mean()) if sums[1].any() else np.nan
    return Slope(*_ratio(by_seed.mean(axis=1), parts), uncorrected)


def _ratio(means: np.ndarray, parts: list[tuple[np.ndarray, int]]) -> tuple[float, float, float]:
    """The ratio of two means (2,) and its 95 % interval by Fieller's theorem, from parts of their covariance (2, 2) and the
    degrees of freedom of each (added as Welch and Satterthwaite do); NaN if the interval is unbounded."""
    above, below = means
    if below <= 0:
        return np.nan, np.nan, np.nan
    line = np.array([1, -above / below])
    along = [(float(line @ part @ line), degrees) for part, degrees in parts]
    total = sum(variance for variance, _ in along)
    error = sum(variance**2 / degrees for variance, degrees in along)
    freedom = total**2 / error if error > 0 else min(degrees for _, degrees in along)
    (first, mixed), (_, second) = float(t.ppf(0.5 + LEVEL / 2, freedom)) ** 2 * np.sum([part for part, _ in parts], axis=0)
    square = below**2 - second
    if square <= 0:
        return np.nan, np.nan, np.nan
    middle = above * below - mixed
    reach = max(middle**2 - square * (above**2 - first), 0.0) ** 0.5
    return above / below, (middle - reach) / square, (middle + reach) / square
