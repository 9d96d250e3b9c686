"""How often a value of one group is below one of another (AUC), its interval and p-value, over networks that share images.

Of one network, the interval is a bootstrap's, which draws images of each group, and p that of Brunner and Munzel's test, for
groups that may spread differently and have ties. Of several networks, the value is the mean of theirs. Their images are the
same, and so no network's are drawn by themselves: the bootstrap draws images, whatever networks make of them, and p is that of
the same placements as in Brunner and Munzel's test, summed for each image over the networks (Obuchowski, "Nonparametric
Analysis of Clustered ROC Curve Data", Biometrics, 1997).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import brunnermunzel, mannwhitneyu, norm, rankdata

from sparrow.results.statistics import LEVEL

CHUNK = 100
"""Draws that are computed at a time: each takes a weight for every image."""


class Groups(NamedTuple):
    """The images of one network: each one's number (n,), which it has for all networks; its value (n,), which may be infinite;
    and whether it is of the first group (n,)."""

    images: np.ndarray
    values: np.ndarray
    first: np.ndarray

    @property
    def both(self) -> bool:
        """Whether there are images of each group."""
        return bool(self.first.any() and not self.first.all())


class Auc(NamedTuple):
    """P(value of the first group < value of the second) + P(they are equal) / 2, its 95 % interval, and p of 0.5."""

    value: float
    low: float
    high: float
    p: float


NOTHING = Auc(np.nan, np.nan, np.nan, np.nan)


def auc(networks: list[Groups], draws: int, fewest: int) -> Auc:
    """The mean over networks that have both groups; NaN where either has fewer than `fewest` images in all networks together.

    The same draws whenever the images are the same, whatever else is computed; without any, the value alone.
    """
    counts = np.sum([(own.first.sum(), (~own.first).sum()) for own in networks], axis=0) if networks else np.zeros(2)
    usable = [own for own in networks if own.both]
    if counts.min() < fewest or not usable:
        return NOTHING
    value = float(np.mean([_weighted(own, np.ones((1, len(own.values))))[0] for own in usable]))
    if not draws:
        return NOTHING._replace(value=value)
    resampled = np.concatenate([_resampled(usable, size, place) for place, size in enumerate(_sizes(draws))])
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    p = _p_of_one(usable[0]) if len(usable) == 1 else _p_of_several(usable, value)
    return Auc(value, float(low), float(high), p)


def _sizes(draws: int) -> list[int]:
    return [min(CHUNK, draws - start) for start in range(0, draws, CHUNK)]


def _resampled(networks: list[Groups], size: int, place: int) -> np.ndarray:
    """The value (size,) in draws with replacement: of each group's images, or of all where several networks share them."""
    generator = np.random.default_rng(place)
    if len(networks) == 1:
        (own,) = networks
        weights = np.zeros((size, len(own.values)))
        for group in (own.first, ~own.first):
            weights[:, group] = _drawn(generator, size, int(group.sum()))
        return _weighted(own, weights)
    images = np.unique(np.concatenate([own.images for own in networks]))
    drawn = _drawn(generator, size, len(images))
    each = [_weighted(own, drawn[:, np.searchsorted(images, own.images)]) for own in networks]
    # A draw may hold no image of a group of one network: it says nothing of that one.
    known = np.isfinite(each)
    with np.errstate(invalid="ignore"):
        return np.where(known, each, 0).sum(axis=0) / known.sum(axis=0)


def _drawn(generator: np.random.Generator, size: int, count: int) -> np.ndarray:
    """How often each of `count` images is in each of `size` draws of as many (size, count)."""
    return generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float)


def _weighted(own: Groups, weights: np.ndarray) -> np.ndarray:
    """The value (draws,) of one network, whose images count as often as `weights` (draws, n) say; NaN without a group."""
    order = np.argsort(own.values, kind="stable")
    ordered = own.values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    weights, first = weights[:, order], own.first[order]
    ours, theirs = (np.add.reduceat(weights * group, starts, axis=1) for group in (first, ~first))
    totals = theirs.sum(axis=1, keepdims=True)
    above = totals - np.cumsum(theirs, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ours * (above + theirs / 2)).sum(axis=1) / (ours.sum(axis=1) * totals[:, 0])


def _p_of_one(own: Groups) -> float:
    ranks = rankdata(own.values)
    first, second = ranks[own.first], ranks[~own.first]
    if ranks.min() == ranks.max():
        return 1.0
    if first.max() < second.min() or second.max() < first.min():
        # Without overlap there is no variance to judge by; of all ways of naming the groups this is one of the two extremes.
        return float(mannwhitneyu(first, second, method="exact").pvalue)
    return float(brunnermunzel(first, second).pvalue) if min(len(first), len(second)) > 1 else np.nan


def _p_of_several(networks: list[Groups], value: float) -> float:
    moves: dict[int, float] = {}
    for own in networks:
        for image, move in zip(own.images.tolist(), _placements(own) / len(networks), strict=True):
            moves[image] = moves.get(image, 0.0) + move
    error = float(np.sqrt(np.square(list(moves.values())).sum()))
    if error == 0:
        return 1.0 if value == 0.5 else _p_of_one(max(networks, key=lambda own: min(own.first.sum(), (~own.first).sum())))
    return float(2 * norm.sf(abs(value - 0.5) / error))


def _placements(own: Groups) -> np.ndarray:
    """To first order, how much each image (n,) moves the value of one network."""
    ranks = rankdata(own.values)
    moves = np.empty(len(ranks))
    for group, sign in ((own.first, -1), (~own.first, 1)):
        size, others = int(group.sum()), int((~group).sum())
        # Of each image, the share of the other group that lies below it.
        below = (ranks[group] - rankdata(ranks[group])) / others
        moves[group] = sign * (below - below.mean()) / np.sqrt(size * max(size - 1, 1))
    return moves
