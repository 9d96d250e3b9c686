"""What was studied: networks, data, threat, methods and training, in the words of the study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE
from sparrow.results.page import words
from sparrow.results.page.study_data import StudyData
from sparrow.results.specs.page import Entry

ROOMS = {
    "datasets": "Data",
    "models": "Networks",
    "objectives": "Trained for",
    "methods": "Pruned by",
    "attacks": "Attacked by",
    "verifiers": "Verified by",
    "analyses": "Also analysed",
}


def about(data: StudyData) -> dict[str, Any]:
    """A headline, the study's name, a sentence on the threat, numbers of networks, and the entries of each room."""
    spec, summary = data.spec, data.summary
    pruned = summary[summary["stage"] != DENSE]
    rooms = {title: _shown(spec.entries[room]) for room, title in ROOMS.items() if spec.entries[room]}
    return {
        "title": _title(data),
        "name": spec.name if "study" in spec.name.lower() else f"study {spec.name}",
        "threats": _threats(data),
        "tested": [
            (title, words.listed([one.label for one in spec.entries[room]]))
            for title, room in (("Attacks", "attacks"), ("Verifiers", "verifiers"))
            if spec.entries[room]
        ],
        "facts": [
            ("networks", f"{len(summary):,}"),
            ("of them pruned", f"{len(pruned):,}"),
            *(
                [("failed, in all or in part", f"{summary['failed'].notna().sum():,}")]
                if summary["failed"].notna().any()
                else []
            ),
            ("methods", f"{pruned['method'].nunique():,}"),
            ("ratios", ", ".join(f"{ratio:g}" for ratio in spec.ratios) or "–"),
            ("seeds", words.seeds(spec.seeds)),
            ("test images", _images(summary)),
        ],
        "rooms": rooms,
        "training": {
            stage: ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in schedule.items())
            for stage, schedule in spec.training.items()
        },
    }


def _title(data: StudyData) -> str:
    networks, images = (_names(data.spec.entries[room]) for room in ("models", "datasets"))
    if data.spec.stage == DENSE:
        return f"How robust dense networks are: {networks} on {images}"
    return f"What is left of {networks} on {images} after pruning"


def _names(entries: list[Entry]) -> str:
    labels = [one.label for one in entries]
    return words.listed(labels) if len(labels) <= 3 else f"{labels[0]}, {labels[1]} and {len(labels) - 2} others"


def _threats(data: StudyData) -> list[dict[str, str]]:
    """Threats in words, each with the objectives it holds for; none of them, if it holds for all."""
    by_threat: dict[tuple[str, str, str], list[str]] = {}
    for objective, one in data.spec.threats.items():
        by_threat.setdefault(words.reach(one), []).append(objective)
    return [
        {"before": before, "size": size, "after": after, "objectives": words.listed(own) if len(by_threat) > 1 else ""}
        for (before, size, after), own in by_threat.items()
    ]


def _images(summary: pd.DataFrame) -> str:
    counts = {metric: summary[f"{metric}_n"].max() for metric in ("benign", "era", "vra") if f"{metric}_n" in summary}
    known = {metric: int(number) for metric, number in counts.items() if number > 0}
    if len(set(known.values())) <= 1:
        return f"{next(iter(known.values()), 0):,}"
    return ", ".join(f"{number:,} ({metric})" for metric, number in known.items())


def _shown(entries: list[Entry]) -> list[dict[str, Any]]:
    """Entries of one kind together: what it `says`, and of each its label and what sets it apart."""
    kinds: dict[str, list[Entry]] = {}
    for one in entries:
        kinds.setdefault(one.says, []).append(one)
    return [{"says": says, "entries": [_labelled(one) for one in own]} for says, own in kinds.items()]


def _labelled(one: Entry) -> tuple[str, str]:
    """An entry's label and its options, with its kind where the label is another and no option says why."""
    kind = f"kind {one.kind}" if one.kind != one.label and not one.options else ""
    return one.label, one.options or kind
