"""What failed, and what is suspect: sentences that a reader should know before any number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable
from typing import Any

import pandas as pd

from sparrow.files.paths import CELL_COLUMNS, DENSE, LABEL_COLUMNS
from sparrow.results import marks
from sparrow.results.comparable import ABOVE, PARTIAL, above_era, by_some
from sparrow.results.page import words
from sparrow.results.page.study_data import StudyData

LISTED = 12
"""At most so many networks are named under a sentence."""
NAMED = 3
"""At most so many cells are named behind a warning."""


def doubts(data: StudyData) -> list[dict[str, Any]]:
    """Sentences, each with its weight (`bad`, `mind`) and the networks that it is about."""
    return [*_failed(data), *_useless(data), *_partial(data), *_above(data), *_warned(data), *_design(data), *_code(data)]


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
        found[0] = _doubt("bad", what, _by_cell(data, constant))
    return found


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
    return [_doubt("mind", text, _lines(data, said))]


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
    return [_doubt("mind", text, [f"vra {line}" for line in _lines(data, said)])]


def _said(data: StudyData, note: Callable[[dict[Any, Any]], str]) -> dict[str, list[Hashable]]:
    """By what a `note` says of networks, their places in summary.csv."""
    found: dict[str, list[Hashable]] = {}
    for place, row in zip(data.summary.index, data.summary.to_dict("records"), strict=True):
        if text := note(row):
            found.setdefault(text, []).append(place)
    return found


def _lines(data: StudyData, said: dict[str, list[Hashable]]) -> list[str]:
    return [f"{text}: {_first(_by_cell(data, data.summary.loc[places]))}" for text, places in said.items()]


def _warned(data: StudyData) -> list[dict[str, Any]]:
    summary, found = data.summary, []
    columns = {
        "era_warnings": ("an attack met something that may make {} look more robust than they are (marked †)", "mind"),
        "warnings": ("the making of {} told of something odd", "mind"),
        "uncut": ("filters of {} could not be cut out, or not all, and are there as zeros", "mind"),
    }
    for column, (text, weight) in columns.items():
        rows = summary[summary[column].notna()] if column in summary else summary.iloc[:0]
        if len(rows):
            sentence = text.format(words.count(len(rows), "network"))
            found.append(_doubt(weight, f"{sentence[0].upper()}{sentence[1:]}.", _reasons(data, rows, column)))
    return found


def _reasons(data: StudyData, rows: pd.DataFrame, column: str) -> list[str]:
    """What a column says, of how many networks and of which, the most frequent first.

    Sentences that differ by their numbers alone count as one, with the largest.
    """
    attacks = {one.label for one in data.spec.entries["attacks"]}
    kinds: dict[str, dict[Hashable, str]] = {}
    for place, text in rows[column].astype(str).items():
        for sentence in _attributed(text, attacks):
            kinds.setdefault(re.sub(r"\d+", "#", sentence), {})[place] = sentence
    order = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    return [
        f"{_largest(list(said.values()))}: {words.count(len(said), 'network')} ({_first(_by_cell(data, rows.loc[list(said)]))})"
        for _, said in order
    ]


def _attributed(text: str, attacks: set[str]) -> list[str]:
    """The sentences of a warning, each with the name of the attack that only the first one of an attack has."""
    found, attack = [], ""
    for sentence in text.split("; "):
        name = sentence.partition(": ")[0]
        attack = name if name in attacks else attack
        found.append(sentence if name in attacks or not attack else f"{attack}: {sentence}")
    return found


def _largest(sentences: list[str]) -> str:
    """Of sentences that differ by their numbers, the one with the largest, behind `up to`."""
    numbers = [[int(number) for number in re.findall(r"\d+", one)] for one in sentences]
    varied = [place for place, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    if not varied:
        return sentences[0]
    largest = max(range(len(sentences)), key=lambda one: [numbers[one][place] for place in varied])
    start = list(re.finditer(r"\d+", sentences[largest]))[varied[0]].start()
    return f"{sentences[largest][:start]}up to {sentences[largest][start:]}"


def _first(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    return "; ".join(names[:NAMED] + ([f"and {len(names) - NAMED} more"] if len(names) > NAMED else []))


def _by_cell(data: StudyData, rows: pd.DataFrame) -> list[str]:
    """Networks by cell, with those of its seeds: `random at 0.98: all 6 seeds`; of a family, where there are several."""
    shown = [name for name in LABEL_COLUMNS if data.summary[name].nunique() > 1]
    found = []
    for key, own in rows.groupby([*CELL_COLUMNS, "stage"], sort=False):
        cell = dict(zip([*CELL_COLUMNS, "stage"], key, strict=True))
        ratio = "" if cell["stage"] == DENSE else f" at {cell['ratio']:g}"
        name = " / ".join([*(str(cell[label]) for label in shown), f"{cell['method']}{ratio}"])
        seeds = sorted(own["seed"].astype(int))
        named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
        every = len(seeds) == len(data.spec.seeds)
        found.append(f"{name}: {'all ' + str(len(seeds)) + ' seeds' if every else named}" if len(data.spec.seeds) > 1 else name)
    return found


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
    made = f"Made with uncommitted changes in {words.count(len(changed), 'file')}."
    return found + ([_doubt("mind", made, changed)] if changed else [])
