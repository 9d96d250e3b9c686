"""Prepare a data set: load, split, store."""

from __future__ import annotations

from pathlib import Path

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.data import _store
from sparrow.data._split import split
from sparrow.errors import SparrowError


def prepare_data(output: Path, cost: Path, dataset: dict) -> None:
    """Write the data set that `dataset` (`{"kind": ..., **parameters}`) stands for to `output`, divided into parts."""
    with measured(cost):
        entry, params = catalogue.from_spec("datasets", dataset)
        images, labels, white = entry.load(params)
        try:
            parts = split(labels, params)
        except ValueError as error:
            raise SparrowError(f"datasets.{dataset['kind']}: validation and test leave too few images: {error}") from None
        _store.write(output, images, labels, parts, white, entry.CLASSES)
