"""Eras: the era of each pruned network, and that of its dense one, from the tables alone.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.settings import Analysis, Columns, Scope

if TYPE_CHECKING:
    from sparrow.results.study_tables import Tables


class Params(Analysis):
    """It has none."""

    scope: ClassVar[Scope] = "tables"
    tables: ClassVar[Columns] = {"eras": ("method", "ratio", "seed", "own", "dense")}


def analyse(subject: Tables, params: Params) -> list[tuple]:
    """A row for each pruned network."""
    rows = []
    for one in subject.networks:
        dense = subject.dense_of(one)
        if dense is not None and dense is not one:
            who, eras = one.identity, [float(found.outcomes.robust().mean()) for found in (one, dense)]
            rows.append((who["method"], repr(who["ratio"]), who["seed"], *eras))
    return rows
