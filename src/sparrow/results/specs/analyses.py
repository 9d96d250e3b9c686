"""What collecting the tables of analyses reads."""

from __future__ import annotations

from sparrow.files.specs import PlainValues
from sparrow.settings import Scope


class AnalysisTables(PlainValues):
    """The kind of an analysis, what one of its tables is about, and the columns of each by name."""

    kind: str
    scope: Scope
    tables: dict[str, list[str]]
    summary: str | None = None
    """Digest of the code that gives columns of the summary, if the analysis has such columns."""
