"""Eras: the era of each pruned network, and that of its dense one, and how many images it has right under noise.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.settings import Analysis, Columns, Need, Scope

if TYPE_CHECKING:
    from sparrow.results.study_tables import Tables


class Params(Analysis):
    """It has none."""

    scope: ClassVar[Scope] = "tables"
    needs: ClassVar[tuple[Need, ...]] = ("outputs",)
    tables: ClassVar[Columns] = {"eras": ("method", "ratio", "seed", "own", "dense", "right", "noisy")}


def analyse(subject: Tables, params: Params) -> list[tuple]:
    """A row for each pruned network."""
    rows = []
    for one in subject.networks:
        dense = subject.dense_of(one)
        if dense is not None and dense is not one:
            who, eras = one.identity, [float(found.outcomes.robust().mean()) for found in (one, dense)]
            logits, labels = one.outputs, one.outcomes.labels()
            wanted = labels[logits.indices.tolist()].to_numpy()
            right, noisy = ((found.argmax(-1).numpy() == wanted).mean() for found in (logits.logits, logits.noise[0.05]))
            rows.append((who["method"], repr(who["ratio"]), who["seed"], *eras, right, noisy))
    return rows
