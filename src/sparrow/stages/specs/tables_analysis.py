"""What analyses of all outcome tables read."""

from __future__ import annotations

from sparrow.files.specs import Entry
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.results.specs.outcomes import OutcomeTables
from sparrow.stages.specs.analysis import AnalysisSpec


class ReadAnalysis(AnalysisTables):
    """An analysis whose tables another one reads: what they are like, and its settings."""

    analysis: Entry


class TablesAnalysisSpec(AnalysisSpec):
    """One of all outcome tables: `objectives` says which tables the networks of each objective have."""

    objectives: dict[str, OutcomeTables]
    reads: dict[str, ReadAnalysis] | None = None
    """The analyses whose tables it is given, by label; none, for one that reads no others."""
