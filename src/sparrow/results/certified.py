"""Certified radii of smoothed classifiers, image by image, from their outcome tables.

Source: average certified radius: Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified
Radius", ICLR 2020; certified accuracy at a radius: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via
Randomized Smoothing", ICML 2019.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sparrow.results.outcomes import radius
from sparrow.results.statistics import accuracy, mean_over_seeds
from sparrow.settings import Threat


def needed(table: pd.DataFrame, shape: tuple[int, ...]) -> float:
    """The l2 radius that the threat of a verifier's table needs, for images of a `shape` (channels, height, width)."""
    return Threat(norm=table["norm"].iloc[0], eps=radius(table)).l2_radius(math.prod(shape))


def radii(table: pd.DataFrame, shape: tuple[int, ...]) -> pd.Series:
    """The certified l2 radius of each image, by image; 0 where the smoothed classifier abstains or is wrong.

    The margins of `table` are those of the radius over the one that its threat needs.
    """
    right = table["prediction"] == table["label"]
    return (table["margin"] + needed(table, shape)).where(right, 0.0).clip(lower=0)


def average(found: pd.Series) -> tuple[float, float, float]:
    """The average certified radius of the `radii` (n,), and its 95 % Student interval over images; without one for n < 2."""
    values = found.to_numpy(dtype=float)
    return mean_over_seeds(values) if len(values) > 1 else (float(found.mean()), math.nan, math.nan)


def curve(table: pd.DataFrame, shape: tuple[int, ...], step: float) -> pd.DataFrame:
    """Certified accuracy at l2 radii in steps of `step` from 0 to the first at which there is none, and at the needed one.

    Columns `radius`, `certified` (the share that is right with a larger radius), `low`, `high` (Wilson, 95 %).
    """
    found, threats = radii(table, shape), needed(table, shape)
    places = step * np.arange(int(found.max() / step) + 2)
    rows = []
    for place in sorted({*map(float, places), threats}):
        # At the threat's own radius as its verifier counts, also where the sum above rounds.
        hits = (table["status"] == "verified") if place == threats else (found > place)
        rows.append((place, *accuracy(hits.to_numpy(dtype=bool))))
    return pd.DataFrame(rows, columns=["radius", "certified", "low", "high"])
