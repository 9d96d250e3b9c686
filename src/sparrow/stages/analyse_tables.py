"""An analysis of all outcome tables of a study: from these to a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import FAILED
from sparrow.files.specs import opened
from sparrow.results.study_tables import Tables, evaluated, tables_of
from sparrow.stages import _analysis
from sparrow.stages._failure import recorded
from sparrow.stages.specs.tables_analysis import TablesAnalysisSpec


def _failed(message: str, output: Path, spec: TablesAnalysisSpec, networks: list[Path], **unused: Any) -> None:
    """A table of one row, which says why there are no others."""
    write_csv(output, FAILED, [[message, *_analysis.origin(networks, [], spec)]])


@opened(TablesAnalysisSpec)
@recorded(_failed)
def analyse_tables(
    output: Path,
    cost: Path,
    spec: TablesAnalysisSpec,
    networks: list[Path],
    tables: list[Path],
    outputs: Sequence[Path] = (),
    analysed: Sequence[Path] = (),
) -> None:
    """Run `spec.analysis` on the outcome `tables` and the logits `outputs`, which lie below the checkpoints `networks`, and on
    the tables `analysed` of the jobs of other analyses.

    `spec.objectives` says which outcome tables there are, `spec.reads` which analyses.
    """

    def subject(params: object, generator: Any) -> Tables:
        own = evaluated(networks, spec.objectives, spec.outputs)
        return Tables(own, generator, tables_of(list(analysed), spec.reads or {}))

    _analysis.run(output, cost, spec, networks, [*networks, *tables, *outputs, *analysed], subject)
