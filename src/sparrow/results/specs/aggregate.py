"""What aggregation reads."""

from __future__ import annotations

from sparrow.files.specs import Spec
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.results.specs.outcomes import OutcomeTables


class AggregateSpec(Spec):
    """Names of all outcome tables; those of each objective's networks; the analyses that are not timed, by label."""

    attacks: list[str]
    verifiers: list[str]
    objectives: dict[str, OutcomeTables]
    analyses: dict[str, AnalysisTables]
