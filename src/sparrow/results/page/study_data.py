"""The tables of a study as the page reads them, and means over seeds of what summary.csv has of each network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.files.csv_table import EXACT
from sparrow.files.paths import CELL_COLUMNS, DENSE, LABEL_COLUMNS, base_of
from sparrow.results.comparable import WITHOUT, may_be_lower
from sparrow.results.granularity import behind_method
from sparrow.results.ranking import FAILED, GROUP
from sparrow.results.specs.page import PageSpec
from sparrow.results.statistics import mean_over_seeds
from sparrow.results.ties import LEVEL_WITH_BEST

COMPARED = ("best", LEVEL_WITH_BEST, "within the noise", "likely worse", "worse")
NOT_COMPARED = "not compared"
"""The verdict where the network that others are held against has failed."""
METRICS = {"benign": "benign accuracy", "era": "era (no attack succeeds)", "vra": "vra (some verifier proves it)"}


CONTROL = "random"
"""The kind of method that everything is held against."""


@dataclass(frozen=True)
class StudyData:
    """What the sections of the page read."""

    spec: PageSpec
    files: dict[str, Path]
    """Tables by name, without suffix."""
    environment: Path

    def table(self, name: str) -> pd.DataFrame:
        """A table of the study; an empty one, if the study has none of that name."""
        return pd.read_csv(self.files[name], converters=EXACT) if name in self.files else pd.DataFrame()

    @cached_property
    def summary(self) -> pd.DataFrame:
        """summary.csv, families in the order of the study."""
        return self._in_order(self.table("summary"))

    def _in_order(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of `table` by data set, model and objective as the study names them, else as they were."""
        rooms = ("datasets", "models", "objectives")
        known = [{one.label: place for place, one in enumerate(self.spec.entries[room])} for room in rooms]
        places = [table[name].map(own).fillna(len(own)) for name, own in zip(LABEL_COLUMNS, known, strict=True)]
        return table.iloc[np.lexsort(places[::-1])].reset_index(drop=True)

    @cached_property
    def all_ranks(self) -> pd.DataFrame:
        """ranking.csv, where whatever summary.csv says has failed is `failed`, and nothing is told of a distance from it.

        Networks of which ranking.csv has no row, because all that they would be held against failed too, have one.
        """
        names = [*CELL_COLUMNS, "stage"]
        lost = {(*one, name) for name in METRICS for one in self.summary.loc[self.lost[name], names].itertuples(index=False)}
        table = self._with_unranked(self.table("ranking"))
        keys = table[[*names, "metric"]].itertuples(index=False, name=None)
        failed = pd.Series([key in lost for key in keys], table.index, dtype=bool)
        groups = pd.Series(list(table[[*GROUP, "metric"]].itertuples(index=False, name=None)), table.index, dtype=object)
        orphaned = groups.isin(set(groups[failed & (table["rank"] == 1)]))
        gaps = ["rank", "behind", "behind_low", "behind_high", "p_holm"]
        table.loc[failed | (orphaned & table["rank"].notna()), gaps] = math.nan
        table.loc[orphaned & table["verdict"].isin(COMPARED), "verdict"] = NOT_COMPARED
        table.loc[failed, ["mean", "low", "high", "sd"]] = math.nan
        table.loc[failed, "verdict"] = FAILED
        return table

    def _with_unranked(self, ranked: pd.DataFrame) -> pd.DataFrame:
        """ranking.csv and, of pruned networks that all failed where they would be compared, a row for each method."""
        pruned = self.summary[(self.summary["stage"] == self.spec.stage) & (self.summary["stage"] != DENSE)]
        keys = [pruned[name] for name in GROUP]
        alone = [
            pruned.loc[self.lost.loc[pruned.index, name].groupby(keys).transform("all"), [*GROUP, "method"]].assign(metric=name)
            for name in self.metrics
        ]
        found = [table for table in (ranked, *alone) if len(table)]
        if not found:
            return ranked
        together = pd.concat(found, ignore_index=True).drop_duplicates([*GROUP, "method", "metric"])
        return self._in_order(together.reindex(columns=ranked.columns).astype({"verdict": object}))

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Of all ranks, those of the networks that figures show."""
        return self.all_ranks[self.all_ranks["stage"] == self.spec.stage]

    @cached_property
    def lost(self) -> pd.DataFrame:
        """Of each network of summary.csv and each of METRICS, whether a failure left it without, or without some of its
        verifiers."""
        summary = self.summary.reindex(columns=[*self.summary.columns, *(name for name in METRICS if name not in self.summary)])
        known = summary[list(METRICS)].notna()
        # Not every family is asked for era and vra; a network without even a benign accuracy lacks all.
        asked = known.groupby([summary[name] for name in LABEL_COLUMNS]).transform("any")
        missing = ~known & (asked | ~known[["benign"]].to_numpy())
        lost = missing.mul(summary["failed"].notna(), axis="index")
        # By fewer verifiers than others, it stands in the table of all networks alone.
        return lost.assign(vra=lost["vra"] | summary[WITHOUT].notna()) if WITHOUT in summary else lost

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Means over seeds of the dense networks and of the pruned ones that figures show, with 95 % intervals.

        A row for each cell and stage (variants, too): `seeds`, `constant` (whether one of the networks answers with one class),
        `doubted` (whether the era of one may be lower than attacks found), and of each of METRICS the mean, `_low` and `_high`,
        as shares, `_n` images, and `_failed`: how many networks a failure left without. Where that is any, there is no mean:
        those that are left may be easier ones.
        """
        lost = self.lost.add_suffix("_lost")
        shown = self.summary.join(lost)[self.summary["stage"].map(base_of).isin([DENSE, self.spec.stage])]
        rows = [dict(zip([*CELL_COLUMNS, "stage"], key, strict=True)) | _means(one) for key, one in _cells(shown)]
        return pd.DataFrame(rows)

    @cached_property
    def controls(self) -> set[str]:
        """Labels of the methods that everything is held against."""
        return {one.label for one in self.spec.entries["methods"] if one.kind == CONTROL}

    def doubted(self, ranks: pd.DataFrame) -> list[bool]:
        """Whether each row of ranking.csv is on an era that may be lower than attacks found."""
        keys = [*CELL_COLUMNS, "stage"]
        cells = set(self.cells.loc[self.cells["doubted"], keys].itertuples(index=False, name=None))
        rows = ranks[[*keys, "metric"]].itertuples(index=False, name=None)
        return [metric == "era" and tuple(cell) in cells for *cell, metric in rows]

    def before(self, metric: str) -> pd.Series:
        """Of each row of summary.csv the accuracy of its dense network."""
        keys = [*LABEL_COLUMNS, "seed"]
        dense = self.summary.loc[self.summary["stage"] == DENSE, [*keys, metric]].rename(columns={metric: "before"})
        return self.summary[keys].merge(dense.drop_duplicates(keys), how="left", on=keys)["before"].astype(float)

    @cached_property
    def metrics(self) -> list[str]:
        """Those of era and vra that were measured at all."""
        return [metric for metric in ("era", "vra") if metric in self.summary and self.summary[metric].notna().any()]

    @cached_property
    def families(self) -> list[tuple[str, str, str]]:
        """Data set, model and objective of all networks, in the order of the study."""
        return list(self.summary[LABEL_COLUMNS].drop_duplicates().itertuples(index=False, name=None))


def _cells(summary: pd.DataFrame) -> Sequence[tuple[tuple, pd.DataFrame]]:
    return list(summary.groupby([*CELL_COLUMNS, "stage"], sort=False))


def _means(rows: pd.DataFrame) -> dict[str, object]:
    """What the networks of a cell, which differ by seed, have on average."""
    first = rows.iloc[0]
    found: dict[str, object] = {
        "granularity": first["granularity"] if isinstance(first["granularity"], str) else "",
        "shown_method": first["method"] + behind_method(first["granularity"]),
        "seeds": len(rows),
        "constant": bool(rows["constant"].eq(True).any()) if "constant" in rows else False,
        "doubted": any(may_be_lower(row) for row in rows.to_dict("records")),
    }
    for metric in METRICS:
        failed = int(rows[f"{metric}_lost"].sum())
        known = rows[rows[metric].notna()] if metric in rows and not failed else rows.iloc[:0]
        mean = low = high = float("nan")
        if len(known) > 1:
            mean, low, high = mean_over_seeds(known[metric].to_numpy(dtype=float))
        elif len(known):
            mean, low, high = (float(known.iloc[0][f"{metric}{end}"]) for end in ("", "_low", "_high"))
        found |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high, f"{metric}_failed": failed}
        found[f"{metric}_n"] = float(known[f"{metric}_n"].max()) if f"{metric}_n" in known and len(known) else float("nan")
    for size in ("nonzero", "effective_parameters", "weight_bytes", "index_bytes", "other_bytes", "compact_parameters"):
        found[size] = float(rows[size].astype(float).mean()) if size in rows else float("nan")
    return found
