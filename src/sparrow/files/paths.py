"""The layout of a results folder, known here alone: checkpoints and their identities, and paths of all files. Imports no torch.

    DATASET/data.safetensors
    DATASET/MODEL/OBJECTIVE/seedN/dense.safetensors                       a dense network
    DATASET/MODEL/OBJECTIVE/seedN/METHOD-RATIO/pruned.safetensors         a pruned one, and finetuned.safetensors
    DATASET/MODEL/OBJECTIVE/seedN/.../CHECKPOINT/attacks/NAME.csv         what was made of a checkpoint: attacks, verifiers,
    DATASET/MODEL/OBJECTIVE/seedN/.../CHECKPOINT/compact.safetensors      and what is about the network itself
    .../analyses/NAME.csv                                                 beside data, dense or a folder of what was made of a
                                                                          checkpoint; also below the results, and with seeds in
                                                                          the place of seedN: what an analysis says of it
    summary.csv, figures/, tables/, logs/                                 what is about the whole study

A job's cost is beside its output, with the suffix `COST`; the job is named by that path, without suffix.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

DENSE = "dense"
LABEL = "[a-z0-9]+(?:-[a-z0-9]+)*"
RATIO = r"0\.\d+"
_SWEPT = rf"{LABEL}(?:-eps\d[\d._]*)?"
_PATH = re.compile(rf"({LABEL})/({LABEL})/({LABEL})/seed(\d+)/(?:dense|({LABEL})-({RATIO})/(pruned|finetuned))")

CELL_COLUMNS = ["dataset", "model", "objective", "method", "ratio"]
"""Columns of tables that identify a cell, over all seeds."""
IDENTITY = [*CELL_COLUMNS, "seed", "stage"]
"""Columns of tables that identify a checkpoint; a dense network has the method `dense` and the ratio 0."""

NETWORK, TABLE, COST, EXAMPLES = ".safetensors", ".csv", ".cost.json", ".examples.safetensors"
CURVE, TRACE = ".curve.csv", ".trace.csv"
"""Suffixes of the tables beside a checkpoint: its learning curve, and the trace of its pruning."""

DATA_PATTERN = "{dataset}/data"
PARENT_PATTERN = "{dataset}/{model}/{objective}/seed{seed}"
ANALYSIS = "analyses/{analysis}"
CELL_PATTERN = f"{PARENT_PATTERN}/{{method}}-{{ratio}}"
CHECKPOINT_PATTERN = f"{PARENT_PATTERN}/{{checkpoint}}"
"""Paths below the results folder, without suffixes, for Snakemake, with `WILDCARDS`."""
ANALYSIS_PATTERNS = {
    "dataset": f"{{dataset}}/{ANALYSIS}",
    "network": f"{CHECKPOINT_PATTERN}/{ANALYSIS}",
    "pair": f"{CHECKPOINT_PATTERN}/{ANALYSIS}",
    "family": f"{PARENT_PATTERN}/{ANALYSIS}",
    "seeds": f"{{dataset}}/{{model}}/{{objective}}/seeds/{{checkpoint}}/{ANALYSIS}",
    "tables": ANALYSIS,
}
"""Paths of the table of an analysis, in the same form, by its scope (`settings.Scope`)."""
WILDCARDS = {
    **dict.fromkeys(("dataset", "model", "objective", "method"), LABEL),
    **dict.fromkeys(("attack", "verifier"), _SWEPT),
    "seed": r"\d+",
    "ratio": RATIO,
    "checkpoint": f"{DENSE}|{LABEL}-{RATIO}/(?:pruned|finetuned)",
}
"""Regular expressions of the names in the patterns."""

JOB_OF_CELL = (
    r"^(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<objective>[^/]+)/seed(?P<seed>\d+)"
    rf"/(?P<method>.+)-(?P<ratio>{RATIO})/(?P<of>[^/]+)"
)
"""Regular expression of the beginning of a job's path, for jobs of pruned networks: cell, seed, and `of`, the stage."""

_BY_FOLDER = {"attacks": "attack", "verifiers": "verify", "analyses": "analyse"}
_BY_NAME = {DENSE: "pretrain", "pruned": "prune", "finetuned": "finetune"}
_BY_NAME |= {stage: stage for stage in ("data", "compact")}
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
    """A network after one stage; `path` is the file's, without its suffix."""

    parent: Parent
    cell: Cell | None
    stage: str

    @property
    def path(self) -> str:
        return f"{(self.cell or self.parent).path}/{self.stage}"

    def identity(self) -> dict[str, Any]:
        """The checkpoint's identity: values of `IDENTITY` by name."""
        method, ratio = (self.cell.method, self.cell.ratio) if self.cell else (DENSE, 0.0)
        return _identity(self.parent._asdict() | {"method": method, "ratio": ratio, "stage": self.stage})


def identity_of(header: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's identity by its header: values of `IDENTITY` by name."""
    return _identity({"method": DENSE, "ratio": 0.0} | header["cell"] | {"stage": header["stage"]})


def _identity(values: dict[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in IDENTITY}


def checkpoint_in(header: dict[str, Any]) -> Checkpoint:
    """The checkpoint whose header this is. Raises KeyError or TypeError if it does not say."""
    cell = dict(header["cell"])
    method, ratio = cell.pop("method", None), cell.pop("ratio", 0.0)
    parent = Parent(**cell)
    return Checkpoint(parent, Cell(parent, method, ratio) if method else None, header["stage"])


SEEDS = "seeds"
"""The folder's name in the place of `seedN`, where a file is about a cell over all seeds."""


def place(scope: str, one: Checkpoint) -> str:
    """The folder, below the results, of what an analysis of that scope (`settings.Scope`) makes of a checkpoint or its like."""
    parent = one.parent
    return {
        "dataset": parent.dataset,
        "network": one.path,
        "pair": one.path,
        "family": parent.path,
        "seeds": "/".join((*parent[:3], SEEDS, one.path.removeprefix(f"{parent.path}/"))),
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
    """A ratio as text for paths: all of its decimals, at least two."""
    digits = f"{Decimal(repr(ratio)):f}"
    return digits.ljust(len("0.00"), "0")


def parse(path: str) -> Checkpoint:
    """The checkpoint with this `path`. Raises ValueError if it is not the path of one."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} names no checkpoint; valid: {SHAPE}")
    dataset, model, objective, seed, method, ratio, stage = found.groups()
    parent = Parent(dataset, model, objective, int(seed))
    checkpoint = Checkpoint(parent, Cell(parent, method, float(ratio)), stage) if method else Checkpoint(parent, None, DENSE)
    if checkpoint.path != path:
        raise ValueError(f"{path!r} would lie at {checkpoint.path!r}; write it so")
    return checkpoint


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint whose file is at `path`, in any results folder. Raises ValueError if it is not the path of one."""
    parts = path.absolute().with_suffix("").parts
    return parse("/".join(parts[-5 if path.stem == DENSE else -6 :]))


def stage_of(job: str) -> str:
    """The stage that does a job: `pretrain` for `.../dense`, `attack` for `.../attacks/pgd`. Raises KeyError if none does."""
    *above, folder, name = ("", *job.split("/"))
    # No attacks and verifiers lie beside data sets, one of which may have that label.
    found = None if above == [""] and folder in ("attacks", "verifiers") else _BY_FOLDER.get(folder)
    return found or _BY_NAME[name]


def checkpoint_of(job: str) -> Checkpoint | None:
    """The checkpoint that a job makes or is about; None for a job about none or about several."""
    found = _PATH.match(job)
    return parse(found[0]) if found else None


def parent_file(path: Path, kind: str) -> Path | None:
    """The file of the checkpoint that `path` was made from; `kind` is `pruned`, `finetuned` or `compact`.

    None for a dense network.
    """
    # A compact network is in a folder with the checkpoint's name; Path(".") has no name.
    folder = Path(os.path.abspath(path)).parent.name
    place = {
        "pruned": path.parent / ".." / f"{DENSE}{NETWORK}",
        "finetuned": path.parent / f"pruned{NETWORK}",
        "compact": path.parent / ".." / f"{folder}{NETWORK}",
    }.get(kind)
    return place and Path(os.path.normpath(place))


def data_path(dataset: str) -> str:
    """Path of a data set's file, relative to the results folder."""
    return DATA_PATTERN.format(dataset=dataset) + NETWORK


def data_file(path: Path, stage: str, compact: bool = False) -> Path:
    """The file of the data set of the checkpoint at `path`, of that `stage`, or of the `compact` form of one."""
    up = (3 if stage == DENSE else 4) + compact
    return Path(os.path.normpath(path.parent / "/".join([".."] * up) / f"data{NETWORK}"))


def subject_of(path: Path) -> Path | None:
    """The checkpoint that a table or a file of examples belongs to, by its name or by the folder that it lies in; else None."""
    absolute = Path(os.path.abspath(path))
    for up, name in enumerate((absolute.name.split(".")[0], absolute.parent.name, absolute.parent.parent.name)):
        found = Path(os.path.normpath(path.parent / "/".join([".."] * up) / f"{name}{NETWORK}"))
        if found.is_file():
            return found
    return None
