"""The figures that any study may have: each a file in results/figures/, which says what it is drawn from.

It does so in constants, which are read here without importing it:

- `DRAWN_FROM` is a table of the results folder, several of them, or `*` and a suffix for the files of single runs;
- `CAPTION` says to a reader what it shows;
- `WITHOUT_PRUNING = True`: it shows dense networks alone, too.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "results/figures"


class Figure(NamedTuple):
    """What a figure's file says of it."""

    drawn_from: str | tuple[str, ...]
    without_pruning: bool
    caption: str

    @property
    def of_runs(self) -> str | None:
        """The suffix of the files of single runs that it is drawn from; None if it is drawn from tables."""
        return self.drawn_from[1:] if isinstance(self.drawn_from, str) and self.drawn_from.startswith("*") else None


@cache
def known() -> dict[str, Figure]:
    """All figures by name."""
    said = {path.stem: _constants(path) for path in sorted(FOLDER.glob("*.py"))}
    return {
        name: Figure(constants["DRAWN_FROM"], constants.get("WITHOUT_PRUNING", False), constants["CAPTION"])
        for name, constants in said.items()
        if "DRAWN_FROM" in constants
    }


def _constants(path: Path) -> dict[str, Any]:
    """What a file sets to a plain value at its top level."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found
