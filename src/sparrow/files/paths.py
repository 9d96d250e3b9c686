"""Who a checkpoint is, and where it lies in a study's folder: a path that reads like a sentence. Imports no torch."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

DENSE = "dense"
LABEL = "[a-z0-9]+(?:-[a-z0-9]+)*"
_PATH = re.compile(rf"({LABEL})/({LABEL})/({LABEL})/seed(\d+)/(?:dense|({LABEL})-(0\.\d+)/(pruned|finetuned))")
SHAPE = "DATASET/MODEL/OBJECTIVE/seedN/dense or .../seedN/METHOD-RATIO/pruned or .../finetuned"


class Parent(NamedTuple):
    """A dense network: data set x model x objective x seed."""

    dataset: str
    model: str
    objective: str
    seed: int

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.model}/{self.objective}/seed{self.seed}"


class Cell(NamedTuple):
    """A pruned network: a dense one x method x ratio."""

    parent: Parent
    method: str
    ratio: float

    @property
    def path(self) -> str:
        return f"{self.parent.path}/{self.method}-{ratio_label(self.ratio)}"


class Checkpoint(NamedTuple):
    """A network at one stage of its life; `path` is the file's, without its suffix."""

    parent: Parent
    cell: Cell | None
    stage: str

    @property
    def path(self) -> str:
        return f"{(self.cell or self.parent).path}/{self.stage}"

    def identity(self) -> dict[str, Any]:
        """Who it is, in plain values; a dense network has the method `dense` and the ratio 0."""
        own = {"method": self.cell.method, "ratio": self.cell.ratio} if self.cell else {"method": DENSE, "ratio": 0.0}
        return {**self.parent._asdict(), **own, "stage": self.stage}


def checkpoint_of(header: dict[str, Any]) -> Checkpoint:
    """The checkpoint whose header this is. Raises KeyError or TypeError if it does not say."""
    cell = dict(header["cell"])
    method, ratio = cell.pop("method", None), cell.pop("ratio", 0.0)
    parent = Parent(**cell)
    return Checkpoint(parent, Cell(parent, method, ratio) if method else None, header["stage"])


SEEDS = "seeds"
"""Stands in the place of `seedN` where something is about a cell over all seeds."""


def place(scope: str, one: Checkpoint) -> str:
    """The folder, below the results, of what an analysis of that scope (`settings.Scope`) makes of a checkpoint or its like."""
    parent = one.parent
    return {
        "dataset": parent.dataset,
        "network": one.path,
        "pair": one.path,
        "family": parent.path,
        "seeds": one.path.replace(f"/seed{parent.seed}/", f"/{SEEDS}/", 1),
        "tables": "",
    }[scope]


def identity_at(scope: str, place: Path) -> dict[str, Any]:
    """What a `place` is about, by its last parts: of a checkpoint's identity what all that lies there has in common."""
    parts = place.parts
    if scope == "tables":
        return {}
    if scope == "dataset":
        return {"dataset": parts[-1]}
    if scope == "family":
        return dict(
            zip(("dataset", "model", "objective", "seed"), (*parts[-4:-1], int(parts[-1].removeprefix("seed"))), strict=True)
        )
    own = list(parts[-5:] if parts[-1] == DENSE else parts[-6:])
    if scope == "seeds":
        own[3] = "seed0"
    found = parse("/".join(own)).identity()
    return {key: value for key, value in found.items() if not (scope == "seeds" and key == "seed")}


def ratio_label(ratio: float) -> str:
    """A ratio as it stands in paths: at least two decimals, as many as it takes."""
    digits = f"{Decimal(repr(ratio)):f}"
    return digits.ljust(len("0.00"), "0")


def parse(path: str) -> Checkpoint:
    """The checkpoint whose `path` this is. Raises ValueError if it is nobody's."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} names no checkpoint; valid: {SHAPE}")
    dataset, model, objective, seed, method, ratio, stage = found.groups()
    parent = Parent(dataset, model, objective, int(seed))
    checkpoint = Checkpoint(parent, Cell(parent, method, float(ratio)), stage) if method else Checkpoint(parent, None, DENSE)
    if checkpoint.path != path:
        raise ValueError(f"{path!r} would lie at {checkpoint.path!r}; write it so")
    return checkpoint
