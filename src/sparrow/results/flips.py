"""Which images one network has right and another one not, and how near these were to the first one's boundary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata

from sparrow.files.paths import DENSE, LABEL_COLUMNS
from sparrow.results.auc import Groups
from sparrow.results.boundary import distances, nearness
from sparrow.results.outcomes import Outcomes
from sparrow.results.statistics import accuracy, mean_over_seeds
from sparrow.results.study_tables import Evaluated, Tables

METRICS = {"benign": Outcomes.correct, "era": Outcomes.robust, "vra": Outcomes.verified}
CHURN = "churn"
"""What stands for the method where a dense network is held against one that was trained again."""
DECILES = 10


class Pair(NamedTuple):
    """A network, and the dense one that it is held against."""

    dense: Evaluated
    other: Evaluated

    @property
    def seeds(self) -> tuple[int, int]:
        """The seeds of the other one and of the dense one."""
        return self.other.identity["seed"], self.dense.identity["seed"]


class Flips(NamedTuple):
    """What one pair of networks makes of the images that both have been tried on, by one metric."""

    hits: pd.DataFrame
    """Whether `dense` and `other` have each image right, by image."""
    lost: Groups
    """By distance from the dense network's boundary, of the images that it has right: those that the other has not, and those
    that it has."""
    gained: Groups
    """By how near the dense network is to having them right, of those that it has wrong: the gained, and those that stay so."""


def cells(tables: Tables, keys: tuple[str, ...]) -> dict[tuple, list[Pair]]:
    """The pairs of each cell, by values of `keys`: pruned networks and their parents; dense ones of one seed and of another, in
    both orders, whose method is CHURN. The ratio is a text with all digits."""
    found: dict[tuple, list[Pair]] = {}
    dense: dict[tuple, list[Evaluated]] = {}
    for one in tables.networks:
        if one.identity["stage"] == DENSE:
            dense.setdefault(tuple(one.identity[key] for key in LABEL_COLUMNS), []).append(one)
    for one in tables.networks:
        who = one.identity | {"ratio": repr(float(one.identity["ratio"]))}
        family = dense.get(tuple(who[key] for key in LABEL_COLUMNS), [])
        if one.identity["stage"] == DENSE:
            who["method"], others = CHURN, [other for other in family if other is not one]
        else:
            others = [other for other in family if other.identity["seed"] == one.identity["seed"]]
        for other in others:
            found.setdefault(tuple(who[key] for key in keys), []).append(Pair(other, one))
    return found


def flips(pair: Pair, metric: str) -> Flips | None:
    """What a pair makes of its images; None without any that both have been tried on, as where a network failed."""
    dense, other = (METRICS[metric](one.outcomes) for one in pair)
    hits = pd.concat({"dense": dense, "other": other}, axis=1, join="inner").astype(bool)
    if hits.empty:
        return None

    def groups(values: pd.Series, chosen: pd.Series, first: pd.Series) -> Groups:
        images = chosen.index[chosen].intersection(values.index)
        return Groups(images.to_numpy(), values.loc[images].to_numpy(), first.loc[images].to_numpy())

    lost = groups(distances(pair.dense.outcomes), hits["dense"], ~hits["other"])
    return Flips(hits, lost, groups(-nearness(pair.dense.outcomes), ~hits["dense"], hits["other"]))


def counts(hits: pd.DataFrame) -> list[int]:
    """Numbers of images that both have right, the dense network alone, the other alone, and neither."""
    dense, other = hits["dense"], hits["other"]
    return [int(both.sum()) for both in (dense & other, dense & ~other, ~dense & other, ~dense & ~other)]


def medians(groups: list[Groups]) -> list[float]:
    """Median distance of the lost images of all pairs, and of the kept ones; NaN without any, inf where most have none."""
    sides = [np.concatenate([own.values[own.first == lost] for own in groups]) for lost in (True, False)]
    # Between a number and infinity there is no middle.
    return [float(np.quantile(values, 0.5, method="lower")) if len(values) else np.nan for values in sides]


def mcnemar(hits: pd.DataFrame) -> float:
    """McNemar's exact p of as many images lost as gained; 1 without either."""
    _, lost, gained, _ = counts(hits)
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def agreement(pair: Pair) -> list[float | None]:
    """Number of images; the share of them for which both networks name one class; and bounds of the share for which they do so
    on the whole ball around the image, None where one of them was not verified or not attacked."""
    dense, other = (one.outcomes for one in pair)
    named = pd.concat({"dense": dense.predictions(), "other": other.predictions()}, axis=1, join="inner")
    equal = named["dense"] == named["other"]
    parts = {"v": dense.verified(), "w": other.verified(), "r": dense.robust(), "s": other.robust(), "equal": equal}
    seen = pd.concat(parts, axis=1, join="inner").astype(bool)
    if seen.empty:
        return [len(equal), float(equal.mean()) if len(equal) else None, None, None]
    # A point where the verified network is right and the other is not; or the image itself.
    witness = (seen["v"] & ~seen["s"]) | (seen["w"] & ~seen["r"]) | ~seen["equal"]
    return [len(seen), float(seen["equal"].mean()), float((seen["v"] & seen["w"]).mean()), float(1 - witness.mean())]


def deciles(groups: list[Groups]) -> list[tuple[float, ...]]:
    """Of each tenth of the images by distance, from the nearest: its number, that of its images, and the share lost with its
    95 % interval, over images with one pair and over pairs with several. Images of one distance are in one tenth."""
    places = [np.floor(DECILES * (rankdata(own.values) - 0.5) / max(len(own.values), 1)) for own in groups]
    rows: list[tuple[float, ...]] = []
    for decile in range(DECILES):
        parts = [own.first[place == decile] for own, place in zip(groups, places, strict=True) if (place == decile).any()]
        if parts:
            shares = np.array([part.mean() for part in parts])
            interval = accuracy(parts[0]) if len(parts) == 1 else mean_over_seeds(shares)
            rows.append((decile + 1, float(np.mean([len(part) for part in parts])), *interval))
    return rows
