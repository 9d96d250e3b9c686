"""The networks of a study that differ by seed alone: pruned ones, each with the dense one that it comes from."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import pandas as pd

from sparrow.files.paths import CELL_COLUMNS, DENSE
from sparrow.results.study_tables import Evaluated, Tables


class Group(NamedTuple):
    """The networks of one cell and stage over all seeds."""

    identity: tuple[Any, ...]
    """Data set, model, objective, method, ratio (as text, with all digits) and stage."""
    pairs: list[tuple[Evaluated, Evaluated]]
    """Dense and pruned network of each seed for which both have outcomes, in the order of the seeds."""

    @property
    def name(self) -> str:
        """The identity in one line."""
        return "/".join(map(str, self.identity))

    @staticmethod
    def common(images: list[pd.Index]) -> pd.Index:
        """The images that are in all of `images`, sorted."""
        return reduce(pd.Index.intersection, images).sort_values()


def groups(tables: Tables) -> list[Group]:
    """All cells of pruned networks, in the order of their identities; one without any pair has none."""
    found: dict[tuple[Any, ...], list[tuple[Evaluated, Evaluated]]] = {}
    for one in tables.networks:
        if one.identity["stage"] == DENSE:
            continue
        values = one.identity | {"ratio": repr(float(one.identity["ratio"]))}
        pairs = found.setdefault(tuple(values[key] for key in (*CELL_COLUMNS, "stage")), [])
        parent = tables.dense_of(one)
        # Without predictions there is neither a table of an attack nor one of a verifier.
        if parent is not None and len(parent.outcomes.labels()) and len(one.outcomes.labels()):
            pairs.append((parent, one))
    return [Group(identity, pairs) for identity, pairs in found.items()]
