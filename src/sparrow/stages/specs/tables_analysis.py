"""What analyses of all outcome tables read."""

from __future__ import annotations

from sparrow.results.specs.outcomes import OutcomeTables
from sparrow.stages.specs.analysis import AnalysisSpec


class TablesAnalysisSpec(AnalysisSpec):
    """One of all outcome tables: `objectives` says which tables the networks of each objective have."""

    objectives: dict[str, OutcomeTables]
