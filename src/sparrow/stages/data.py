"""Prepare a data set: load, split, store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.data import _store
from sparrow.data._source import Source
from sparrow.data._split import HeldOut, hold_out, in_turns, split
from sparrow.errors import SparrowError
from sparrow.versions import versions


def prepare_data(output: Path, cost: Path, dataset: dict, origin: dict | None = None) -> None:
    """Write the data set that `dataset` (`{"kind": ..., **parameters}`) stands for to `output`, divided into parts.

    The header says so, and also what `origin` does: the code digest.
    """
    with measured(cost):
        entry, params = catalogue.from_spec("datasets", dataset)
        source = entry.load(params)
        try:
            parts = _divided(source, params)
        except ValueError as error:
            shares = "validation" if source.test else "validation and test"
            raise SparrowError(f"datasets.{dataset['kind']}: {shares} leave too few images: {error}") from None
        about = {"dataset": dataset, "versions": versions("numpy", "scikit-learn"), **(origin or {})}
        regime = f"held out {100 * params.validation:g} %"
        _store.write(output, parts, source.white, entry.describe(params).classes, regime, about)


def _divided(source: Source, params: HeldOut) -> dict[str, _store.Stored]:
    """The parts; a test image's index is that in the official test set, where there is one."""
    if source.test is None:
        return {name: _part(*source.train, indices) for name, indices in split(source.train.labels, params).items()}
    parts = {name: _part(*source.train, indices) for name, indices in hold_out(source.train.labels, params).items()}
    return parts | {"test": _part(*source.test, in_turns(source.test.labels, params.split_seed))}


def _part(images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> _store.Stored:
    return _store.Stored(images[indices], labels[indices], indices)
