"""The ranking of methods by era and vra, with the significance of their differences.

Within one data set, model, objective, ratio and granularity (a share of the weights is not that share of the
filters), every method is compared with the best one, image by image and seed by seed: the difference of the two hit
rates, averaged over seeds. Its variance has two parts, from training again (the variance between seeds over their
number) and from testing on other images (that of the seed-averaged difference between images over their number); the
degrees of freedom are Welch and Satterthwaite's. With one seed only the second part can be
seen. A difference is within the noise if its 95 % interval holds 0. Of many methods one is outside by chance alone, so
the p-values of a comparison are also adjusted together (Holm, Scandinavian Journal of Statistics, 1979): a method is
worse than the best if even the adjusted one is below 0.05, and likely worse otherwise.

A network that answers with one class for all images is robust on that class and has learned nothing: a method with such a
network, under any seed, has no rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from sparrow.files.paths import LABEL_COLUMNS
from sparrow.results.statistics import LEVEL, accuracy, mean_over_seeds

METRICS = ("era", "vra")
FAILED, CONSTANT = "failed", "constant"
GROUP = [*LABEL_COLUMNS, "stage", "ratio", "granularity"]


class Hits(NamedTuple):
    """The identity of a network, and for each metric which images it gets right (by index)."""

    identity: dict[str, Any]
    by_metric: dict[str, pd.Series]
    constant: bool = False
    """Whether it answers with one class for all images."""


def rank(networks: Iterable[Hits]) -> pd.DataFrame:
    """One row per group, metric and method, best first."""
    groups: dict[tuple, dict[str, list[Hits]]] = {}
    for network in networks:
        key = tuple(network.identity[name] for name in GROUP)
        groups.setdefault(key, {}).setdefault(network.identity["method"], []).append(network)
    rows = []
    for key, methods in groups.items():
        for metric in METRICS:
            tables = {method: _by_seed(hits, metric) for method, hits in methods.items() if _complete(hits, metric)}
            apart = {method for method in tables if any(network.constant for network in methods[method])}
            compared = _compare({method: table for method, table in tables.items() if method not in apart})
            compared += [_accuracies(method, tables[method]) | {"verdict": CONSTANT} for method in sorted(apart)]
            if compared:  # Where nothing was measured, nothing is missing.
                compared += [{"method": method, "verdict": FAILED} for method in sorted(methods.keys() - tables.keys())]
            rows += [dict(zip(GROUP, key, strict=True)) | {"metric": metric} | row for row in compared]
    columns = [*GROUP, "metric", "rank", "method", "seeds", "mean", "low", "high", "sd", "behind", "behind_low", "behind_high"]
    return pd.DataFrame(rows, columns=[*columns, "p_holm", "verdict"])


def _complete(networks: list[Hits], metric: str) -> bool:
    """Whether every seed has outcomes: a method that failed with one is not ranked by the others, which may be easier ones."""
    return all(len(network.by_metric[metric]) for network in networks)


def _by_seed(networks: list[Hits], metric: str) -> pd.DataFrame:
    """Images by seeds, True where the network of that seed has it right."""
    return pd.DataFrame({network.identity["seed"]: network.by_metric[metric] for network in networks}).sort_index()


def _accuracies(method: str, table: pd.DataFrame) -> dict[str, Any]:
    """A method's share of hits over its seeds, with its interval and the standard deviation between seeds."""
    shares = table.to_numpy(dtype=float).mean(axis=0)
    interval = dict(zip(("mean", "low", "high"), _interval(table), strict=True))
    return {"method": method, "seeds": len(shares), **interval, "sd": float(shares.std(ddof=1)) if len(shares) > 1 else np.nan}


def _compare(tables: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    if not tables:
        return []
    means = {method: float(table.to_numpy(dtype=float).mean()) for method, table in tables.items()}
    order = sorted(tables, key=lambda method: (-means[method], method))
    best, others = order[0], order[1:]
    gaps = {method: difference(tables[best], tables[method]) for method in others}
    adjusted = dict(zip(others, holm([gap[3] for gap in gaps.values()]), strict=True))
    rows = []
    for place, method in enumerate(order, start=1):
        behind, low, high, _ = gaps.get(method, (0.0, np.nan, np.nan, np.nan))
        rows.append(
            {
                "rank": place,
                **_accuracies(method, tables[method]),
                "behind": behind,
                "behind_low": low,
                "behind_high": high,
                "p_holm": adjusted.get(method, np.nan),
                "verdict": "best" if method == best else verdict(low, adjusted[method]),
            }
        )
    return rows


def verdict(low: float, adjusted: float) -> str:
    """The verdict on a difference: `low` is the lower end of its interval, `adjusted` its p-value after Holm."""
    if low <= 0:
        return "within the noise"
    return "worse" if adjusted < 1 - LEVEL else "likely worse"


def _interval(table: pd.DataFrame) -> tuple[float, float, float]:
    """Mean and 95 % interval: over seeds with several, over images with one."""
    if table.shape[1] > 1:
        return mean_over_seeds(table.to_numpy(dtype=float).mean(axis=0))
    return accuracy(table.to_numpy(dtype=bool)[:, 0])


def difference(first: pd.DataFrame, second: pd.DataFrame, level: float = LEVEL) -> tuple[float, float, float, float]:
    """Mean of `first - second` (images x seeds, the same of both), its interval (of a `level`) and its p-value."""
    gaps = first.to_numpy(dtype=float) - second.loc[first.index, first.columns].to_numpy(dtype=float)
    images, seeds = gaps.shape
    mean = float(gaps.mean())
    parts = [(float(gaps.mean(axis=1).var(ddof=1)) / images, images - 1)] if images > 1 else []
    if seeds > 1:
        parts.append((float(gaps.mean(axis=0).var(ddof=1)) / seeds, seeds - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return mean, mean, mean, float(mean == 0)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = variance**0.5
    reach = float(t.ppf(0.5 + level / 2, freedom)) * error
    return mean, mean - reach, mean + reach, float(2 * t.sf(abs(mean) / error, freedom))


def holm(p_values: list[float]) -> list[float]:
    """Step-down adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[i]))
        adjusted[i] = largest
    return adjusted
