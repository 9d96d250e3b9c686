"""Prepare a data set: load it, divide it, add extra images, store it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparrow import catalogue
from sparrow.data import store
from sparrow.data.extra import with_extra
from sparrow.data.source import Description, Images, Source
from sparrow.data.source_check import missing_classes, require_source
from sparrow.data.split import HeldOut, SplitParams, hold_out, in_turns, split
from sparrow.errors import SparrowError
from sparrow.files.specs import opened
from sparrow.jobs.costs import record_cost
from sparrow.stages.specs.data import DataSpec
from sparrow.versions import versions


@opened(DataSpec)
def prepare_data(output: Path, cost: Path, spec: DataSpec) -> None:
    """Load a data set, divide it into parts, add the extra images that the study names, and write it to `output`."""
    with record_cost(cost):
        entry, params = catalogue.from_spec("datasets", spec.dataset)
        description, name = entry.describe(params), f"datasets.{spec.dataset['kind']}"
        source = require_source(entry.load(params), description, name)
        missing = missing_classes(source, description)
        if missing:
            print(f"warning: {name}: no training image of the classes {missing}")
        try:
            parts = _divided(source, params)
        except ValueError as error:
            shares = "validation" if source.test else "validation and test"
            raise SparrowError(f"{name}: {shares} leave too few images: {error}") from None
        own = len(parts["train"].labels)
        parts["train"] = _added(parts["train"], params, description, source)
        extra = store.Extra(len(parts["train"].labels) - own, params.extra_share)
        about = {"dataset": spec.dataset, "versions": versions("numpy", "scikit-learn"), "code": spec.code}
        about |= {"names": list(source.names)} if source.names else {}
        store.write(output, parts, source.white, description.classes, _regime(params, extra), about, extra)


def _regime(params: HeldOut, extra: store.Extra) -> str:
    """How the training images came to be, in words: the share that was held out, and the extra images."""
    regime = f"held out {100 * params.validation:g} %"
    if extra.images:
        regime += f", {extra.images:,} extra"
    if extra.share:
        regime += f" ({100 * extra.share:g} % of each batch)"
    return regime


def _added(train: store.Stored, params: HeldOut, about: Description, source: Source) -> store.Stored:
    """The training part, followed by the extra images; their indices continue the data set's own."""
    images, labels = with_extra(Images(train.images, train.labels), params, about, source.white)
    first = len(source.train.labels)
    indices = np.arange(first, first + len(labels) - len(train.labels))
    return store.Stored(images, labels, np.concatenate([train.indices, indices]))


def _divided(source: Source, params: HeldOut) -> dict[str, store.Stored]:
    """The parts; a test image's index is that in the official test set, where there is one."""
    if source.test is None:
        if not isinstance(params, SplitParams):
            raise SparrowError(
                "the data set has no official test set: its Params must derive from sparrow.data.split.SplitParams"
            )
        return {name: _part(*source.train, indices) for name, indices in split(source.train.labels, params).items()}
    parts = {name: _part(*source.train, indices) for name, indices in hold_out(source.train.labels, params).items()}
    return parts | {"test": _part(*source.test, in_turns(source.test.labels, params.split_seed))}


def _part(images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> store.Stored:
    return store.Stored(images[indices], labels[indices], indices)
