"""What failed, and what is suspect: sentences that a reader should know before any number."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE
from sparrow.results import marks
from sparrow.results.page import words
from sparrow.results.page.study_data import StudyData

LISTED = 12
"""At most so many networks are named under a sentence."""


def doubts(data: StudyData) -> list[dict[str, Any]]:
    """Sentences, each with its weight (`bad`, `mind`) and the networks that it is about."""
    return [*_failed(data), *_useless(data), *_warned(data), *_design(data), *_code(data)]


def _doubt(weight: str, text: str, about: list[str] | None = None) -> dict[str, Any]:
    about = about or []
    more = [f"and {len(about) - LISTED} more; the table of all networks has them"] if len(about) > LISTED else []
    return {"weight": weight, "text": text, "about": about[:LISTED] + more}


def _names(rows: pd.DataFrame, column: str | None = None) -> list[str]:
    """Networks in words, with what a column says of each."""
    found = []
    for row in rows.to_dict("records"):
        ratio = "" if row["stage"] == DENSE else f" at {row['ratio']:g}"
        name = f"{row['dataset']} / {row['model']} / {row['objective']} / {row['method']}{ratio}, seed {row['seed']}"
        found.append(f"{name}: {row[column]}" if column else name)
    return found


def _failed(data: StudyData) -> list[dict[str, Any]]:
    rows = data.summary[data.summary["failed"].notna()]
    if rows.empty:
        return []
    number = words.count(len(rows), "network")
    return [_doubt("bad", f"{number} of {len(data.summary):,} failed, or an evaluation of them did.", _names(rows, "failed"))]


def _useless(data: StudyData) -> list[dict[str, Any]]:
    summary = data.summary
    constant = summary[summary["constant"].eq(True)]
    found = [_doubt("bad", f"{sentence[0].upper()}{sentence[1:]}.") for sentence in marks.sentences(summary)]
    if len(constant) and found:
        what = (
            f"{words.count(len(constant), 'network')} of {len(summary):,} answer with one class, whatever they see: robust on "
            "that class, and of no use. They are marked ✕ in tables, crossed out in figures, and have no rank."
        )
        found[0] = _doubt("bad", what, _names(constant))
    return found


def _warned(data: StudyData) -> list[dict[str, Any]]:
    summary, found = data.summary, []
    columns = {
        "era_warnings": ("an attack met something that may make {} look more robust than they are (marked †)", "mind"),
        "warnings": ("the making of {} told of something odd", "mind"),
        "uncut": ("the filters of {} could not be cut out, and are there as zeros", "mind"),
    }
    for column, (text, weight) in columns.items():
        rows = summary[summary[column].notna()] if column in summary else summary.iloc[:0]
        if len(rows):
            sentence = text.format(words.count(len(rows), "network"))
            found.append(_doubt(weight, f"{sentence[0].upper()}{sentence[1:]}.", _reasons(rows[column])))
    return found


def _reasons(column: pd.Series) -> list[str]:
    """What a column says, how often, the most frequent first; sentences that differ by their numbers alone count as one."""
    said = column.astype(str).str.split("; ").explode()
    kinds = said.map(lambda text: re.sub(r"\d+", "#", text))
    groups = sorted(said.groupby(kinds), key=lambda group: (-len(group[1]), group[0]))
    return [f"{len(own)} × {own.iloc[0]}" for _, own in groups]


def _design(data: StudyData) -> list[dict[str, Any]]:
    """What the study itself cannot tell."""
    found = []
    if len(data.spec.seeds) == 1:
        text = "There is one seed: intervals are over test images alone, and say nothing of training again."
        found.append(_doubt("mind", text))
    if data.spec.stage == "pruned":
        text = (
            "Networks are shown as they were pruned, without fine-tuning: what they lose may be a matter of batch norm alone."
        )
        found.append(_doubt("mind", text))
    regimes = set(data.summary["data_regime"].dropna()) if "data_regime" in data.summary else set()
    if len(regimes) > 1:
        found.append(_doubt("mind", "Networks of one table were trained on different data.", sorted(regimes)))
    return found


def _code(data: StudyData) -> list[dict[str, Any]]:
    """What the numbers were computed by, where that is not one thing."""
    found, table = [], data.table("provenance")
    for aspect, text in (
        ("device", "Networks were computed on different devices."),
        ("versions", "Packages had different versions."),
    ):
        # Stage by stage: not all name the same packages.
        values = [set(table[name].dropna()) for name in map(str, table) if name.endswith(f"_{aspect}")]
        if any(len(one) > 1 for one in values):
            found.append(_doubt("mind", text, sorted(set.union(*values))))
    changed = json.loads(data.environment.read_text(encoding="utf-8"))["git"]["changed"]
    return found + ([_doubt("mind", "The code of this page is not that of its commit.", changed)] if changed else [])
