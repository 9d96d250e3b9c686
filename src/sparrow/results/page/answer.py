"""The answer in sentences: what the best method keeps at each ratio, what random pruning keeps, and which gaps are noise.

It says what ranking.csv says, and computes nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE, LABEL_COLUMNS
from sparrow.results.page import words
from sparrow.results.page.study_data import StudyData
from sparrow.results.ranking import CONSTANT, FAILED

NAMES = {"era": "Under attack (era)", "vra": "Proven (vra)"}
KEEPS = {"era": "survive every attack", "vra": "are proven robust"}
WHAT = {"weight": "", "filter": "Whole filters: "}
CONTROL = "random"
"""The kind of method that everything is held against."""
NAMED = 4
"""At most so many methods are named in a sentence; of more, their number is told."""


def answers(data: StudyData) -> list[dict[str, Any]]:
    """For each family of networks its labels, its threat, its dense network, and for each metric a paragraph for each
    granularity.

    A paragraph is three sentences, each a list of texts and of values: `{"value": "85.3 %", "interval": "[81.2, 88.7]"}`.
    """
    controls = {one.label for one in data.spec.entries["methods"] if one.kind == CONTROL}
    found = []
    for family in data.families:
        own = _of(data.ranking, family)
        dense = _of(data.cells[data.cells["stage"] == DENSE], family)
        metrics = {NAMES[metric]: _paragraphs(own[own["metric"] == metric], metric, controls, dense) for metric in data.metrics}
        threat = words.threat(data.spec.threats[family[2]])
        found.append({"family": family, "threat": threat, "dense": _dense(dense, data.metrics), "metrics": metrics})
    return found


def _of(table: pd.DataFrame, family: tuple[str, str, str]) -> pd.DataFrame:
    for column, label in zip(LABEL_COLUMNS, family, strict=True):
        table = table[table[column] == label]
    return table


def _value(row: pd.Series, name: str, low: str, high: str) -> dict[str, str]:
    value, _, interval = words.interval(row[name], row[low], row[high]).partition(" [")
    return {"value": value, "interval": f"[{interval}" if interval else ""}


def _dense(dense: pd.DataFrame, metrics: list[str]) -> list[Any]:
    """Accuracies of the dense network of a family."""
    known = [] if dense.empty else [name for name in ("benign", *metrics) if pd.notna(dense.iloc[0][name])]
    if not known:
        return ["There is no result of the dense network."]
    parts = [[f"{name} ", _value(dense.iloc[0], name, f"{name}_low", f"{name}_high")] for name in known]
    return ["Before pruning: ", *_joined(parts, ", "), "."]


def _paragraphs(rows: pd.DataFrame, metric: str, controls: set[str], dense: pd.DataFrame) -> list[list[Any]]:
    """A paragraph on the methods that remove weights, and one on those that remove anything else."""
    order = sorted(set(rows["granularity"].astype(str)), key=lambda name: (name != "weight", name))
    return [_sentences(rows[rows["granularity"] == name], metric, name, controls, dense) for name in order]


def _sentences(rows: pd.DataFrame, metric: str, granularity: str, controls: set[str], dense: pd.DataFrame) -> list[Any]:
    """The three sentences, at all ratios: best, control and noise."""
    best, control, noise = [], [], []
    for ratio, at in rows.groupby("ratio", sort=True):
        first = at[at["rank"] == 1]
        for _, row in first.iterrows():
            best.append([_value(row, "mean", "low", "high"), f" at {ratio:g} ({row['method']})"])
        if first.empty:
            best.append([f"none at {ratio:g}"])
        for _, row in at[at["method"].isin(controls)].iterrows():
            known = [_value(row, "mean", "low", "high")] if pd.notna(row["mean"]) else ["–"]
            control.append([*known, f" at {ratio:g}{_remark(row)}"])
        if len(first):
            noise.append([f"at {ratio:g}, {_tied(at)}"])
    said = [*_before(dense, metric, WHAT.get(granularity, f"{granularity}: ")), *_joined(best, ", "), "."]
    if control:
        said += [" Random pruning leaves ", *_joined(control, ", "), "."]
    if noise:
        said += [" Not told apart from the best: ", *_joined(noise, "; "), "."]
    return said


def _before(dense: pd.DataFrame, metric: str, what: str) -> list[Any]:
    """How the first sentence begins."""
    if what:
        return [f"{what}after the best method, "]
    if dense.empty or pd.isna(dense.iloc[0][metric]):
        return [f"Of the test images, so many {KEEPS[metric]} after the best method: "]
    known = {"value": f"{words.percent(dense.iloc[0][metric])} %", "interval": ""}
    return [known, f" of the test images {KEEPS[metric]} before pruning; after the best method, "]


def _joined(parts: list[list[Any]], between: str) -> list[Any]:
    return [piece for place, part in enumerate(parts) for piece in ([between] if place else []) + part]


def _remark(row: pd.Series) -> str:
    said = {
        CONSTANT: " (answers with one class: no rank)",
        FAILED: " (failed)",
        "within the noise": " (within the noise of the best)",
    }
    return said.get(row["verdict"], "")


def _tied(at: pd.DataFrame) -> str:
    """The methods that are within the noise of the best, in words."""
    tied = list(at.loc[at["verdict"] == "within the noise", "method"])
    others = int(at["verdict"].isin(["within the noise", "likely worse", "worse"]).sum())
    if not others:
        return "no other was compared"
    if not tied:
        return f"none of {words.count(others, 'other')}"
    names = ", ".join(tied[:NAMED]) + (f" and {len(tied) - NAMED} more" if len(tied) > NAMED else "")
    return f"{len(tied)} of {words.count(others, 'other')} ({names})"
