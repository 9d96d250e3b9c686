"""What attacks, trainings and prunings warned of, by what they say and of how many networks."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import pandas as pd

from sparrow.results.comparable import DOUBTED, may_be_lower
from sparrow.results.page import words
from sparrow.results.page.naming import Line, doubt, named
from sparrow.results.page.study_data import StudyData


def warned(data: StudyData) -> list[dict[str, Any]]:
    """Doubts about networks of which an attack, a training or a pruning warned."""
    summary, found = data.summary, []
    columns = {
        "era_warnings": (
            f"an attack met something that may make {{}} look more robust than they are (marked {DOUBTED})",
            "mind",
        ),
        "warnings": ("the making of {} told of something odd", "mind"),
        "uncut": ("filters of {} could not be cut out, or not all, and are there as zeros", "mind"),
    }
    for column, (text, weight) in columns.items():
        rows = summary[summary[column].notna()] if column in summary else summary.iloc[:0]
        if column == "era_warnings" and len(rows):
            rows = rows[[bool(may_be_lower(row)) for row in rows.to_dict("records")]]
        if len(rows):
            sentence = text.format(words.count(len(rows), "network"))
            found.append(doubt(weight, f"{sentence[0].upper()}{sentence[1:]}.", _reasons(data, rows, column)))
    return found


def _reasons(data: StudyData, rows: pd.DataFrame, column: str) -> list[Line]:
    """What a column says, of how many networks and of which, the most frequent first.

    Sentences that differ by their numbers alone count as one, with the largest; the network that has it is named first.
    """
    attacks = {one.label for one in data.spec.entries["attacks"]}
    kinds: dict[str, dict[Hashable, str]] = {}
    for place, text in rows[column].astype(str).items():
        for sentence in _attributed(text, attacks):
            kinds.setdefault(re.sub(r"\d+", "#", sentence), {})[place] = sentence
    order = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    found: list[Line] = []
    for _, said in order:
        places = sorted(said, key=lambda place: _numbers(said[place]), reverse=True)
        found.append(named(f"{_largest(list(said.values()))}: {words.count(len(said), 'network')}", data, rows.loc[places]))
    return found


def _numbers(sentence: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", sentence)]


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
    numbers = [_numbers(one) for one in sentences]
    varied = [place for place, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    if not varied:
        return sentences[0]
    largest = max(range(len(sentences)), key=lambda one: [numbers[one][place] for place in varied])
    start = list(re.finditer(r"\d+", sentences[largest]))[varied[0]].start()
    return f"{sentences[largest][:start]}up to {sentences[largest][start:]}"
