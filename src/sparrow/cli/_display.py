"""A few lines at the bottom of a terminal, drawn over again and again."""

from __future__ import annotations

import shutil
from typing import TextIO

from sparrow.cli._said import Said
from sparrow.estimate.standing import Standing, Whole, spoken

BAR = 24
RUNNING = 4
"""Jobs that are named, at most."""


class Display:
    """Writes its lines in place of those that it wrote last."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal, self._written = terminal, 0

    def show(self, said: Said, whole: Whole | None, stopping: bool = False) -> None:
        """Draw how far the run is."""
        self.clear()
        columns = shutil.get_terminal_size((100, 24)).columns
        lines = [line[: columns - 1] for line in drawn(said, whole, stopping)]
        self._terminal.write("\n".join(lines) + "\n")
        self._terminal.flush()
        self._written = len(lines)

    def clear(self) -> None:
        """Remove what was written last."""
        if self._written:
            self._terminal.write(f"\x1b[{self._written}F\x1b[J")
            self._written = 0


def drawn(said: Said, whole: Whole | None, stopping: bool = False) -> list[str]:
    """The lines: all steps, a bar for each stage, and what runs."""
    if not said.begun:
        return ["planning the study ..."]
    total = whole.total if whole else None
    left = "" if total is None or not total.finished or total.finished == total.jobs else f"  {_left(total)} of computing left"
    lines = [f"{_bar(said.done, said.steps)}  {said.done:,} of {said.steps:,} steps{left}"]
    for one in whole.stages.values() if whole else ():
        failed = f"  {one.failed:,} failed, recorded" if one.failed else ""
        lines.append(f"{_bar(one.finished, one.jobs)}  {one.stage} {one.finished:,} of {one.jobs:,}{failed}")
    if stopping:
        return [*lines, "stopping: what runs saves what it has (Ctrl-C again: at once)"]
    names = list(said.running.values())
    lines += [f"  {name}" for name in names[:RUNNING]]
    return lines if len(names) <= RUNNING else [*lines, f"  and {len(names) - RUNNING:,} more"]


def _bar(done: int, whole: int) -> str:
    """A bar of fixed length; full only if all is done."""
    full = BAR * done // max(whole, 1)
    return "█" * full + "░" * (BAR - full)


def _left(one: Standing) -> str:
    return f"{spoken(one.left)}, and more," if one.untold else spoken(one.left)
