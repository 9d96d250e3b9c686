"""Weights left: how many weights of each network of a family are not zero, and whether it lost filters.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.settings import Analysis, Columns, Scope

if TYPE_CHECKING:
    from sparrow.inference.subjects import Family


class Params(Analysis):
    """It has none."""

    scope: ClassVar[Scope] = "family"
    tables: ClassVar[Columns] = {"weights-left": ("stage", "method", "ratio", "weights", "cut")}


def analyse(subject: Family, params: Params) -> list[tuple]:
    """A row for each network that did not fail."""
    images = subject.data.part("test", 1).images
    rows = []
    for network in (subject.dense, *subject.pruned):
        if not network.failed:
            who, model = network.who.identity(), network.load(images, 1)
            nonzero = sum(int(parameter.count_nonzero()) for parameter in model.parameters())
            rows.append((who["stage"], who["method"], repr(who["ratio"]), nonzero, network.cut))
    return rows
