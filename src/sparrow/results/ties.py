"""Ties in the ranking: methods that are level share a rank, and none of them is the best.

Two methods are level if their accuracies are equal. If so is every pair of outcomes, or if all pairs differ by the same, a
t-test sees no variance, and its interval has no width: that is no evidence, and so there is no interval. Where all pairs
differ alike a sign test takes the t-test's place, over images or, where there is but one, over seeds.

Apart from `sparrow.results.ranking`, whose tests analyses use that attack networks: its code is in their digests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from sparrow.results.ranking import GROUP, Hits, difference, holm, rank, verdict
from sparrow.results.statistics import LEVEL

LEVEL_WITH_BEST = "level"
"""The verdict on methods that share the first rank."""
DIGITS = 12
"""Of accuracies: means of the same counts in another order differ behind these."""
KEYS = [*GROUP, "metric"]


def ranked(networks: Iterable[Hits]) -> pd.DataFrame:
    """The table of `ranking.rank`, with `images` behind `seeds` (how many each network has), and with ties."""
    every = list(networks)
    table = rank(every)
    hits: dict[tuple[Any, ...], dict[Any, pd.Series]] = {}
    for one in every:
        for metric, own in one.by_metric.items():
            key = *(one.identity[name] for name in GROUP), metric, one.identity["method"]
            hits.setdefault(key, {})[one.identity["seed"]] = own
    tables = {key: pd.DataFrame(columns).sort_index() for key, columns in hits.items()}
    keys = list(table[[*KEYS, "method"]].itertuples(index=False, name=None))
    seen = pd.Series([len(tables[key]) for key in keys], table.index, dtype="Int64")
    table.insert(list(table).index("seeds") + 1, "images", seen.where(table["seeds"].notna()))
    for _, group in table.groupby(KEYS, sort=False):
        compared = group.dropna(subset=["rank"])
        _share_ranks(table, compared)
        flat = compared.index[compared["behind"].ne(0) & compared["behind_low"].eq(compared["behind_high"])]
        if len(flat):
            _test_signs(table, compared, list(flat), [tables[keys[place]] for place in compared.index])
        _say_level(table, compared)
    return table


def _share_ranks(table: pd.DataFrame, own: pd.DataFrame) -> None:
    """Give equals the same rank: 1, 1, 3."""
    table.loc[own.index, "rank"] = own["mean"].astype(float).round(DIGITS).rank(method="min", ascending=False)


def _say_level(table: pd.DataFrame, own: pd.DataFrame) -> None:
    first = own.index[table.loc[own.index, "rank"] == 1]
    if len(first) > 1:
        table.loc[first, "verdict"] = LEVEL_WITH_BEST
        table.loc[first, "behind"] = 0.0
    same = own.index[own["behind"].eq(0) & own["behind_low"].eq(own["behind_high"])]
    table.loc[same, ["behind_low", "behind_high"]] = float("nan")


def _test_signs(table: pd.DataFrame, own: pd.DataFrame, flat: list[Any], hits: list[pd.DataFrame]) -> None:
    """Judge the rows `flat`, all of whose pairs differ alike, by a sign test, and all of a comparison by Holm's adjustment.

    `hits` (images x seeds) are those of the methods of the comparison `own`, the best first.
    """
    best, others = hits[0], own.index[1:]
    p_values = [difference(best, one)[3] for one in hits[1:]]
    pairs = len(best) if len(best) > 1 else best.shape[1]
    p_values = [min(1.0, 2 * 0.5**pairs) if row in flat else p for row, p in zip(others, p_values, strict=True)]
    for row, p, adjusted in zip(others, p_values, holm(p_values), strict=True):
        table.loc[row, "p_holm"] = adjusted
        low = float(own.loc[row, "behind_low"])
        told = p < 1 - LEVEL if row in flat else low > 0
        table.loc[row, "verdict"] = verdict(1.0 if told else 0.0, adjusted)
    table.loc[flat, ["behind_low", "behind_high"]] = float("nan")
