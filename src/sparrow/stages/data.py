"""Prepare a data set: load, split, store."""

from __future__ import annotations

from pathlib import Path

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.data import _store
from sparrow.data._split import split
from sparrow.errors import SparrowError
from sparrow.versions import versions


def prepare_data(output: Path, cost: Path, dataset: dict, origin: dict | None = None) -> None:
    """Write the data set that `dataset` (`{"kind": ..., **parameters}`) stands for to `output`, divided into parts.

    The header says so, and also what `origin` does: the code digest.
    """
    with measured(cost):
        entry, params = catalogue.from_spec("datasets", dataset)
        images, labels, white = entry.load(params)
        try:
            parts = split(labels, params)
        except ValueError as error:
            raise SparrowError(f"datasets.{dataset['kind']}: validation and test leave too few images: {error}") from None
        about = {"dataset": dataset, "versions": versions("numpy", "scikit-learn"), **(origin or {})}
        _store.write(output, images, labels, parts, white, entry.CLASSES, about)
