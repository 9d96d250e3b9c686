"""Networks by name under the sentences of the page, and doubts: sentences with such lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sparrow.files.paths import CELL_COLUMNS, DENSE, LABEL_COLUMNS
from sparrow.results.page.study_data import StudyData

LISTED = 12
"""At most so many lines stand under a sentence, before those that one has to unfold."""
NAMED = 3
"""At most so many cells are named behind a line, before those that one has to unfold."""

Line = str | dict[str, Any]
"""A line under a sentence; or the `text` of one, and `more` behind it, to unfold."""


def doubt(weight: str, text: str, about: Sequence[Line] = ()) -> dict[str, Any]:
    """A sentence, its weight (`bad`, `mind`) and the lines under it, of many the first LISTED before those to unfold."""
    more = {"text": f"and {len(about) - LISTED} more", "more": list(about[LISTED:])}
    return {"weight": weight, "text": text, "about": [*about[:LISTED], *([more] if len(about) > LISTED else [])]}


def named(text: str, data: StudyData, rows: pd.DataFrame) -> Line:
    """A line with its networks behind it; of many the first few, and the others to unfold."""
    names = by_cell(data, rows)
    if len(names) <= NAMED + 1:
        return f"{text} ({'; '.join(names)})"
    return {"text": f"{text} ({'; '.join(names[:NAMED])}; and {len(names) - NAMED} more)", "more": names[NAMED:]}


def by_cell(data: StudyData, rows: pd.DataFrame) -> list[str]:
    """Networks by cell, with those of its seeds: `random at 0.98: all 6 seeds`; of a family, where there are several."""
    return [name for name, _ in in_cells(data, rows)]


def in_cells(data: StudyData, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Networks by cell, each with its name and its rows."""
    shown = [name for name in LABEL_COLUMNS if data.summary[name].nunique() > 1]
    found = []
    for key, own in rows.groupby([*CELL_COLUMNS, "stage"], sort=False):
        cell = dict(zip([*CELL_COLUMNS, "stage"], key, strict=True))
        ratio = "" if cell["stage"] == DENSE else f" at {cell['ratio']:g}"
        name = " / ".join([*(str(cell[label]) for label in shown), f"{cell['method']}{ratio}"])
        seeds = sorted(own["seed"].astype(int))
        which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
        every = len(seeds) == len(data.spec.seeds)
        name += f": {'all ' + str(len(seeds)) + ' seeds' if every else which}" if len(data.spec.seeds) > 1 else ""
        found.append((name, own))
    return found
