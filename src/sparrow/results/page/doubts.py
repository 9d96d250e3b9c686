"""What failed, and what is suspect: sentences that a reader should know before any number."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE, LABEL_COLUMNS
from sparrow.results import marks
from sparrow.results.comparable import ABOVE, PARTIAL, above_era, by_some
from sparrow.results.page import words
from sparrow.results.page.failures import failures, sentence
from sparrow.results.page.naming import Line, by_cell, doubt, in_cells, named
from sparrow.results.page.study_data import StudyData
from sparrow.results.page.warned import warned

MOST_FAILURES = 3
"""At most so many kinds of failures have a sentence each."""
COLLAPSED = 0.5
"""Below this share of its dense network's benign accuracy a pruned network has collapsed."""
UNEQUAL = 1.2
"""From this ratio on of their gradient evaluations, methods had unequal budgets."""


def doubts(data: StudyData) -> list[dict[str, Any]]:
    """Sentences, each with its weight (`bad`, `mind`) and the networks that it is about."""
    told = (_failed, _useless, _collapsed, _partial, _above, warned, _budgets, _design, _code)
    return [one for tell in told for one in tell(data)]


def _names(rows: pd.DataFrame, column: str) -> list[str]:
    """Networks in words, with what a column says of each."""
    found = []
    for row in rows.to_dict("records"):
        ratio = "" if row["stage"] == DENSE else f" at {row['ratio']:g}"
        name = f"{row['dataset']} / {row['model']} / {row['objective']} / {row['method']}{ratio}, seed {row['seed']}"
        found.append(f"{name}: {row[column]}")
    return found


def _failed(data: StudyData) -> list[dict[str, Any]]:
    rows = data.summary[data.summary["failed"].notna()]
    if rows.empty:
        return []
    found = failures(data)
    told = [doubt("bad", sentence(one, data), by_cell(data, one.rows)) for one in found[:MOST_FAILURES]]
    if len(found) > MOST_FAILURES:
        others = pd.concat([one.rows for one in found[MOST_FAILURES:]])
        number = words.count(len(others), "more network")
        told.append(doubt("bad", f"{number} failed, or an evaluation of them did.", _names(others, "failed")))
    counted = f"{words.count(len(rows), 'network')} of {len(data.summary):,} failed, or an evaluation of them did."
    return [*told, doubt("bad", counted)] if len(found) > 1 else told


def _useless(data: StudyData) -> list[dict[str, Any]]:
    summary = data.summary
    constant = summary[summary["constant"].eq(True)]
    found = [doubt("bad", f"{one[0].upper()}{one[1:]}.") for one in marks.sentences(summary)]
    if len(constant) and found:
        known = summary["benign"].notna().sum()
        what = (
            f"{words.count(len(constant), 'network')} of {known:,} answer with one class, whatever they see: robust on "
            "that class, and of no use. They are marked ✕ in tables, crossed out in figures, and have no rank."
        )
        found[0] = doubt("bad", what, by_cell(data, constant))
    return found


def _collapsed(data: StudyData) -> list[dict[str, Any]]:
    """Pruned networks that are wrong of most images as these are, which hides behind an era or a vra alone."""
    summary = data.summary
    few = summary["benign"] < COLLAPSED * data.before("benign")
    gone = (summary["stage"] != DENSE) & few & ~summary["constant"].eq(True)
    if not gone.any():
        return []
    rows = summary[gone]
    said = [f"{name}: benign {_range(own)}\u00a0%" for name, own in in_cells(data, rows)]
    number = words.count(int(gone.sum()), "pruned network")
    text = f"{number} classified fewer than half as many images correctly as the dense network: little is left to be robust."
    return [doubt("mind", text, said)]


def _range(rows: pd.DataFrame) -> str:
    low, high = (words.percent(float(one)) for one in (rows["benign"].min(), rows["benign"].max()))
    return low if low == high else f"{low} to {high}"


def _budgets(data: StudyData) -> list[dict[str, Any]]:
    """Families whose methods had unequal budgets, and who had most."""
    table, name = data.table("budgets"), "chain_gradient_evaluations"
    if name not in table:
        return []
    table = table[(table["stage"] == data.spec.stage) & (table["stage"] != DENSE) & table[name].notna()]
    lines: list[Line] = []
    told = ""
    for family in data.families:
        own = table[(table[LABEL_COLUMNS] == list(family)).all(axis="columns")]
        spent = own.groupby("method")[name].mean().sort_values(kind="stable")
        if len(spent) > 1 and spent.iloc[-1] > UNEQUAL * spent.iloc[0] > 0:
            times = f"{spent.iloc[-1] / spent.iloc[0]:.1f} times as many gradient evaluations as {spent.index[0]}"
            told = told or f"{spent.index[-1]} spent {times}"
            counts = f"{spent.iloc[-1]:,.0f} and {spent.iloc[0]:,.0f} a network, of the whole chain of its trainings"
            lines.append(f"{' / '.join(family)}: {spent.index[-1]} {times} ({counts})")
    if not lines:
        return []
    where = f" in one family of networks, and budgets differ in {len(lines)} of {len(data.families)}" if len(lines) > 1 else ""
    return [doubt("mind", f"Methods had unequal budgets: {told}{where}.", lines)]


def _partial(data: StudyData) -> list[dict[str, Any]]:
    """Networks whose vra is by some of the verifiers."""
    said = _said(data, by_some)
    if not said:
        return []
    number = words.count(sum(map(len, said.values())), "network")
    text = (
        f"The vra of {number} is by some of the verifiers alone, since others failed (marked {PARTIAL}): a lower bound that "
        "stands in the table of all networks, and in no mean, chart, rank or share."
    )
    return [doubt("mind", text, _lines(data, said))]


def _above(data: StudyData) -> list[dict[str, Any]]:
    """Networks whose vra is above their era."""
    said = _said(data, above_era)
    if not said:
        return []
    number = words.count(sum(map(len, said.values())), "network")
    text = (
        f"The vra of {number} is above the era (marked {ABOVE}). On the same images that would be a contradiction, and no "
        "table would have been made; these were measured on different images."
    )
    return [doubt("mind", text, _lines(data, said, "vra "))]


def _said(data: StudyData, note: Callable[[dict[Any, Any]], str]) -> dict[str, list[Hashable]]:
    """By what a `note` says of networks, their places in summary.csv."""
    found: dict[str, list[Hashable]] = {}
    for place, row in zip(data.summary.index, data.summary.to_dict("records"), strict=True):
        if text := note(row):
            found.setdefault(text, []).append(place)
    return found


def _lines(data: StudyData, said: dict[str, list[Hashable]], before: str = "") -> list[Line]:
    return [named(f"{before}{text}", data, data.summary.loc[places]) for text, places in said.items()]


def _design(data: StudyData) -> list[dict[str, Any]]:
    """What the study itself cannot tell."""
    found = []
    if len(data.spec.seeds) == 1:
        text = "There is one seed: intervals are over test images alone, and say nothing of training again."
        found.append(doubt("mind", text))
    if data.spec.stage == "pruned":
        text = (
            "Networks are shown as they were pruned, without fine-tuning: what they lose may be a matter of batch norm alone."
        )
        found.append(doubt("mind", text))
    regimes = set(data.summary["data_regime"].dropna()) if "data_regime" in data.summary else set()
    if len(regimes) > 1:
        found.append(doubt("mind", "Networks of one table were trained on different data.", sorted(regimes)))
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
            found.append(doubt("mind", text, sorted(set.union(*values))))
    changed = json.loads(data.environment.read_text(encoding="utf-8"))["git"]["changed"]
    made = f"Made with uncommitted changes in {words.count(len(changed), 'file')}."
    return found + ([doubt("mind", made, changed)] if changed else [])
