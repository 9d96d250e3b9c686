"""What Snakemake says while it runs a study, understood line by line."""

from __future__ import annotations

import re

_BEGIN = re.compile(r"^Job (\d+): (.+)$")
_END = re.compile(r"^Finished jobid: (\d+)\b")
_STEPS = re.compile(r"^(\d+) of (\d+) steps \(")
_TOTAL = re.compile(r"^total\s+(\d+)$")
_ERROR = re.compile(
    r"^(Error|RuleException|WorkflowError|Traceback|.*(?:Error|Exception) in )|\bfailed\b|\berror:", re.IGNORECASE
)
_TOLD = re.compile(r"^(warning|error): ", re.IGNORECASE)
CHATTER = ("Using workflow specific profile", "Workflow defines that rule", "Assuming unrestricted", "Building DAG")
"""How lines begin that Snakemake says of itself before the first job."""
SHOWN = 40
"""Lines of what went wrong, at most."""


class Said:
    """How far a run is, as far as Snakemake has told."""

    def __init__(self) -> None:
        self.steps = self.done = 0
        self.running: dict[str, str] = {}
        """The message of each job that has begun and not ended, by its number."""
        self.told: list[str] = []
        """Warnings and errors of jobs, each once, in one line."""
        self._lines: list[str] = []

    @property
    def begun(self) -> bool:
        """Whether it is known what there is to do."""
        return self.steps > 0

    def read(self, line: str) -> None:
        """Take in one line."""
        self._lines.append(line)
        if begin := _BEGIN.match(line):
            self.running[begin[1]] = begin[2]
        elif end := _END.match(line):
            self.running.pop(end[1], None)
        elif steps := _STEPS.match(line):
            self.done, self.steps = int(steps[1]), int(steps[2])
        elif not self.steps and (total := _TOTAL.match(line)):
            self.steps = int(total[1])
        elif _TOLD.match(line) and line not in self.told:
            self.told.append(line)

    def reasons(self) -> list[str]:
        """Why a run ended badly: all that was said, if it was before the first job; else from the first error on, shortened."""
        if not self.begun:
            return [line for line in self._lines if not line.startswith(CHATTER)]
        first = next((place for place, line in enumerate(self._lines) if _ERROR.search(line)), 0)
        found = self._lines[first:]
        return found if len(found) <= SHOWN else [*found[: SHOWN // 2], "...", *found[-SHOWN // 2 :]]
