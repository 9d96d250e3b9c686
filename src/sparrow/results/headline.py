"""A source's averages beside the study's: the preserved share of each metric, as a mean over cells."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sparrow.files import published_figures
from sparrow.files.atomic import replacing
from sparrow.files.specs import opened
from sparrow.results.specs.comparison import HeadlineSpec
from sparrow.results.tables import write_html

CELL = ["dataset", "model", "objective", "method"]
NETWORK = ["dataset", "model", "method", "ratio"]
"""Columns that determine, up to a few, the number of parameters left in a network without its pruned filters."""
TOLERANCE = 0.1
"""Relative difference of shares of parameters that count as equal: without 0.68 of their filters, networks have from 0.101 to
0.103 of their parameters left."""
EVERY = "all"
COLUMNS = ["source", "quantity", "ratio", "method_kind", "granularity", "objective", "networks", "cells"]
COLUMNS += ["published", "measured", "difference", "lowest", "highest", "remarks"]
CAPTION = (
    "What is preserved, pruned over dense, in percent: a mean over the study's cells (data set × model × objective × method, "
    "each a mean over seeds), the lowest and the highest of them, and how many there are; difference: measured minus "
    "published, in points. What is published is of networks that lost this share of their weights: those without whole filters "
    "count if as small a share of their parameters is left, whatever share of the filters that took. A cell whose dense "
    "networks had nothing to preserve, or failed, is left out. Networks that were not trained to be verified may keep several "
    "times what little vra they had: the lines by objective tell them apart."
)


@opened(HeadlineSpec)
def write_headline(summary: Path, headlines: Path, table: Path, table_html: Path, spec: HeadlineSpec) -> None:
    """Write summary.csv beside published averages. Raises SparrowError for bad files."""
    stated = [row for row in published_figures.headlines(headlines) if row["source"] in spec.sources]
    lines = average(pd.read_csv(summary), stated, spec)
    exact = lines.assign(ratio=lines["ratio"].map(lambda ratio: repr(float(ratio))))
    with replacing(table) as partial:
        exact.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    shown = lines.assign(ratio=lines["ratio"].map("{:g}".format)).rename(columns={"method_kind": "method"})
    for column in ("published", "measured", "lowest", "highest"):
        shown[column] = lines[column].map(lambda value: "–" if pd.isna(value) else f"{value:.1f}")
    shown["difference"] = lines["difference"].map(lambda value: "–" if pd.isna(value) else f"{value:+.1f}")
    quotes = dict.fromkeys(f"{html.escape(row['source'])}: “{html.escape(row['quote'])}”" for row in stated)
    write_html(shown, table_html, "<br>".join([*quotes, CAPTION]))


def average(summary: pd.DataFrame, stated: list[dict[str, Any]], spec: HeadlineSpec) -> pd.DataFrame:
    """Lines for each published average in `stated`: by granularity, over all objectives and over each."""
    return pd.DataFrame([line for row in stated for line in _lines(summary, row, spec)], columns=COLUMNS)


def _lines(summary: pd.DataFrame, row: dict[str, Any], spec: HeadlineSpec) -> Iterator[dict[str, Any]]:
    methods = {label: entry for label, entry in spec.methods.items() if entry.kind == row["method_kind"]}
    rows = summary[(summary["stage"] == spec.stage) & summary["method"].isin(methods)]
    granularities = dict.fromkeys(entry.granularity for entry in methods.values())
    for granularity in granularities or ("",):
        own = _as_small(rows[rows["method"].map(lambda label: methods[label].granularity).eq(granularity)], granularity, row)
        objectives = list(dict.fromkeys(own["objective"]))
        for objective in [EVERY, *objectives] if len(objectives) > 1 else [EVERY]:
            part = own if objective == EVERY else own[own["objective"] == objective]
            who = {key: row[key] for key in ("source", "quantity", "ratio", "method_kind")}
            who |= {"granularity": granularity, "objective": objective, "published": row["value"]}
            yield who | _mean(part, row | who, spec)


def _as_small(rows: pd.DataFrame, granularity: str, row: dict[str, Any]) -> pd.DataFrame:
    """Networks that lost the published share of their weights; of those without whole filters, at the ratio that is nearest."""
    if granularity != "filter" or rows.empty:
        return rows[rows["ratio"] == row["ratio"]]
    # A mean over several networks, since a failed one has no size.
    left = (rows["compact_parameters"] / rows["parameters"]).groupby([rows[key] for key in NETWORK]).mean()
    apart = (left - (1 - row["ratio"])).abs().sort_values()
    found = apart[apart <= TOLERANCE * (1 - row["ratio"])].reset_index()[NETWORK].drop_duplicates(NETWORK[:-1])
    return rows[pd.MultiIndex.from_frame(rows[NETWORK]).isin(pd.MultiIndex.from_frame(found))]


def _mean(rows: pd.DataFrame, row: dict[str, Any], spec: HeadlineSpec) -> dict[str, Any]:
    kept = rows.dropna(subset=[f"preserved_{row['quantity']}"])
    cells = 100 * kept.groupby(CELL)[f"preserved_{row['quantity']}"].mean()
    found = {
        "networks": len(kept),
        "cells": len(cells),
        "measured": cells.mean(),
        "lowest": cells.min(),
        "highest": cells.max(),
    }
    return found | {"difference": found["measured"] - row["value"], "remarks": "; ".join(_remarks(rows, len(cells), row, spec))}


def _remarks(rows: pd.DataFrame, cells: int, row: dict[str, Any], spec: HeadlineSpec) -> Iterator[str]:
    every = len(rows.groupby(CELL))
    filters = row["granularity"] == "filter"
    if not every:
        what = f"with {1 - row['ratio']:.3g} of the parameters left" if filters else f"at ratio {row['ratio']:g}"
        yield f"no {row['method_kind']} {what} here"
        return
    if filters:
        ratios = ", ".join(f"{ratio:g}" for ratio in sorted(set(rows["ratio"])))
        left = (rows["compact_parameters"] / rows["parameters"]).mean()
        yield f"without {ratios} of the filters, {left:.3g} of the parameters left"
    if cells < every:
        yield f"{every - cells} of {every} cells left out"
    constant = int(rows["constant"].eq(True).sum())
    if constant:
        yield f"{constant} of {len(rows)} networks answer with one class, whatever they see"
    others = [label for label in dict.fromkeys(rows["dataset"]) if _other(label, row, spec)]
    if others:
        yield f"another data set: {', '.join(others)} here, {row['dataset_kind']} there"


def _other(label: str, row: dict[str, Any], spec: HeadlineSpec) -> bool:
    return label in spec.stand_ins or spec.datasets[label] != row["dataset_kind"]
