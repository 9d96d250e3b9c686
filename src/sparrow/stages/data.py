"""Prepare a data set: load, split, store."""

from __future__ import annotations

from pathlib import Path

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.data import _store
from sparrow.data._split import split


def prepare_data(output: Path, cost: Path, dataset: dict) -> None:
    """Write the data set that `dataset` (`{"kind": ..., **parameters}`) stands for to `output`, divided into parts."""
    with measured(cost):
        entry, params = catalogue.from_spec("datasets", dataset)
        images, labels, white = entry.load(params)
        _store.write(output, images, labels, split(labels, params), white, entry.CLASSES)
