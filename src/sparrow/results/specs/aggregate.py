"""What aggregation reads."""

from __future__ import annotations

from pydantic import Field

from sparrow.files.specs import PlainValues, Spec
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.results.specs.outcomes import OutcomeTables


class MethodFacts(PlainValues):
    """What a method is, in the words of the Adversarial Pruning Benchmark; see `sparrow.pruning.params.Method`."""

    pipeline: str
    iterative: bool
    structure: str
    locality: str
    criterion: str | None = None


class AggregateSpec(Spec):
    """Names of all outcome tables; those of each objective's networks; the analyses that are not timed, by label."""

    attacks: list[str]
    verifiers: list[str]
    objectives: dict[str, OutcomeTables]
    analyses: dict[str, AnalysisTables]
    methods: dict[str, MethodFacts] = Field(default_factory=dict)
    """By label; of a method that only an import has, nothing is known."""
    lost_filters: list[str] = Field(default_factory=list)
    """The evaluated checkpoints (`paths.Checkpoint.path`) whose methods remove whole filters; of others, single weights go."""
    patterns: dict[str, str] = Field(default_factory=dict)
    """Those (by path) of which N of every M weights stay, and the granularity that they are ranked by: `2:4`, or `2:4, dense
    0.weight` where a layer is spared."""
