"""How often a value of one group is below one of another (AUC), its interval and p-value, over networks that share images.

Of one network, the interval is a bootstrap's, which draws images of each group, and p that of Brunner and Munzel's test, for
groups that may spread differently and have ties. Of several networks, the value is the mean of theirs. Their images are the
same, and so no network's are drawn by themselves: the bootstrap draws images, whatever networks make of them; and what each
image adds to the test's variance is first summed over the networks (as in Obuchowski, "Nonparametric Analysis of Clustered ROC
Curve Data", Biometrics, 1997). The degrees of freedom are Brunner and Munzel's, counted in different images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import comb
from scipy.stats import rankdata
from scipy.stats import t as student

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
    return Auc(value, float(low), float(high), _p(usable, value))


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


def _p(networks: list[Groups], value: float) -> float:
    images = np.unique(np.concatenate([own.images for own in networks]))
    moves, seen = np.zeros((2, len(images))), np.zeros((2, len(images)), dtype=bool)
    for own in networks:
        places = np.searchsorted(images, own.images)
        for role, group in enumerate((own.first, ~own.first)):
            moves[role, places[group]] += _placements(own, group) * (2 * role - 1) / len(networks)
            seen[role, places[group]] = True
    parts, counts = np.square(moves).sum(axis=1), seen.sum(axis=1)
    error = float(np.square(moves.sum(axis=0)).sum() ** 0.5)
    # Of all ways of naming the groups, two are the extremes: no ranks say more, however little they vary.
    least = float(2 / comb(counts.sum(), counts[0]))
    if error < 1e-12:
        return 1.0 if abs(value - 0.5) < 1e-12 else least
    if counts.min() < 2:
        return np.nan
    freedom = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
    return max(float(2 * student.sf(abs(value - 0.5) / error, freedom)), min(least, 1.0))


def _placements(own: Groups, group: np.ndarray) -> np.ndarray:
    """To first order, how much each image of a group moves the value of one network, but for the sign: the share of the other
    group that lies below it, less what that is on average."""
    size, ranks = int(group.sum()), rankdata(own.values)[group]
    below = (ranks - rankdata(ranks)) / (len(own.values) - size)
    return (below - below.mean()) / np.sqrt(size * max(size - 1, 1))
