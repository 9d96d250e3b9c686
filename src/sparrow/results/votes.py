"""Votes of networks that differ by seed alone, and the images on which two groups of networks vote otherwise.

Votes are whole numbers from 0: classes, or 1 for an image on which a network is robust and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from sparrow.results.statistics import LEVEL

DRAWS, SPLITS = 1000, 1000
"""Draws of a bootstrap, and the most ways of halving the seeds that are tried."""
FEWEST_TO_HALVE = 4
"""With fewer seeds, a half would be a single network."""


class Difference(NamedTuple):
    """Where the votes of two groups differ."""

    differs: np.ndarray
    """Whether they do, by image (n,)."""
    tied: np.ndarray
    """Whether either vote is a tie (n,)."""
    low: float
    high: float
    """95 % interval of the share of the images on which they differ."""


def vote(votes: np.ndarray) -> np.ndarray:
    """The most frequent of the `votes` (networks, n) for each image (n,); of several such, the largest."""
    return _largest(_ballots(votes, int(votes.max(initial=0)) + 1))


def _ballots(votes: np.ndarray, choices: int) -> np.ndarray:
    """1 where a network votes for a choice, else 0 (networks, n, choices); float32, in which counts are exact and fast."""
    return (votes[:, :, None] == np.arange(choices)).astype(np.float32)


def _largest(ballots: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    counts = ballots.sum(axis=0) if weights is None else np.tensordot(weights.astype(np.float32), ballots, axes=1)
    # The first of the reversed choices is the largest.
    return counts.shape[1] - 1 - counts[:, ::-1].argmax(axis=1)


def ties(votes: np.ndarray) -> np.ndarray:
    """For which images (n,) several choices have the most `votes` (networks, n)."""
    counts = _ballots(votes, int(votes.max(initial=0)) + 1).sum(axis=0)
    return (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1


def difference(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> Difference:
    """Where the votes `first` and `second` (networks, n) differ; networks at the same place have the same seed.

    The interval is a bootstrap's, over seeds and images, both drawn again: its percentiles. A draw has fewer different
    networks than there are, whose vote is less steady, so that the interval leans upwards.
    """
    differs, networks = vote(first) != vote(second), len(first)
    ballots, shares = _contested(first, second), []
    for _ in range(DRAWS):
        weights = np.bincount(random.integers(networks, size=networks), minlength=networks)
        there = int((_largest(ballots[0], weights) != _largest(ballots[1], weights)).sum())
        # Of n images drawn with replacement, each is one of those with the probability there / n.
        shares.append(random.binomial(len(differs), there / len(differs)) / len(differs))
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(differs, ties(first) | ties(second), float(low), float(high))


def _contested(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ballots of both groups on the images on which not all agree: on all others no networks of theirs can differ."""
    both = np.concatenate([first, second])
    where, choices = (both != both[0]).any(axis=0), int(both.max(initial=0)) + 1
    return _ballots(first[:, where], choices), _ballots(second[:, where], choices)


def share_between_halves(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> float:
    """The share of images on which half of the networks of `first` vote otherwise than the other half of those of `second`.

    Both are (networks, n), with the same seeds at the same places. Of `first` and `first` it is what chance alone does to
    votes. The mean over all ways of halving the seeds, or over SPLITS of them where there are more; NaN for fewer than
    FEWEST_TO_HALVE networks. Of an odd number, one half has one more.
    """
    if len(first) < FEWEST_TO_HALVE:
        return float("nan")
    one, other = _contested(first, second)
    counts = [(_largest(one[half]) != _largest(other[~half])).sum() for half in _halves(len(first), random)]
    return float(np.mean(counts) / first.shape[1])


def _halves(count: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Which of `count` places are in a half (count,), for all halves or, where these are too many, for some at random."""
    size = count // 2
    everything = comb(count, size) <= SPLITS
    for places in combinations(range(count), size) if everything else (random.permutation(count)[:size] for _ in range(SPLITS)):
        half = np.zeros(count, dtype=bool)
        half[list(places)] = True
        yield half
