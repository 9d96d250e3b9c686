"""The layout of a results folder, known here alone: checkpoints and their identities, and paths of all files. Imports no torch.

    DATASET/data.safetensors
    DATASET/corrupted.safetensors                                         its test images, corrupted
    DATASET/MODEL/OBJECTIVE/seedN/initial.safetensors                     a network before training
    DATASET/MODEL/OBJECTIVE/seedN/dense.safetensors                       a dense network
    DATASET/MODEL/OBJECTIVE/seedN/METHOD-RATIO/pruned.safetensors         a pruned one, finetuned.safetensors, and
    DATASET/MODEL/OBJECTIVE/seedN/METHOD-RATIO/grafted.safetensors        with lines in the place of some of its ReLUs
    DATASET/MODEL/OBJECTIVE/seedN/.../CHECKPOINT+VARIANT.safetensors      any of the last four, its weights rounded
    DATASET/MODEL/OBJECTIVE/seedN/.../CHECKPOINT/attacks/NAME.csv         what was made of a checkpoint: attacks, verifiers
    DATASET/MODEL/OBJECTIVE/seedN/.../CHECKPOINT/outputs.safetensors      its logits on test images
    .../analyses/NAME.csv                                                 beside data, dense or a folder of what was made of a
                                                                          checkpoint; also below the results, and with seeds in
                                                                          the place of seedN: what an analysis says of it
    NAME.csv, tables/NAME.html, figures/DATASET.MODEL.NAME.svg            what is about the whole study
    logs/JOB.log                                                          the log of a job

A job's cost is beside its output, with the suffix `COST`; the job is named by that path, without suffix.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

INITIAL, DENSE, GRAFTED = "initial", "dense", "grafted"
UNPRUNED = {INITIAL: "training", DENSE: "pruning"}
"""Stages of the checkpoints that no method has a part in, and what these networks are before."""
LABEL = "[a-z0-9]+(?:-[a-z0-9]+)*"
RATIO = r"0\.\d+"
_PRUNED = "pruned|finetuned|grafted"
_SWEPT = rf"{LABEL}(?:-eps\d[\d._]*)?"
_PATH = re.compile(
    rf"({LABEL})/({LABEL})/({LABEL})/seed(\d+)/"
    rf"(?:(initial|dense(?:\+{LABEL})?)|({LABEL})-({RATIO})/((?:{_PRUNED})(?:\+{LABEL})?))"
)

LABEL_COLUMNS = ["dataset", "model", "objective"]
"""Columns of tables that identify a family of networks: a dense one and all that are pruned from it, over all seeds."""
CELL_COLUMNS = [*LABEL_COLUMNS, "method", "ratio"]
"""Columns of tables that identify a cell, over all seeds."""
IDENTITY = [*CELL_COLUMNS, "seed", "stage"]
"""Columns of tables that identify a checkpoint; a dense or initial network has its stage for a method, and the ratio 0."""
SCOPE_COLUMNS = {
    "dataset": LABEL_COLUMNS[:1],
    "network": IDENTITY,
    "pair": IDENTITY,
    "family": [*LABEL_COLUMNS, "seed"],
    "seeds": [column for column in IDENTITY if column != "seed"],
    "tables": [],
}
"""Columns of tables that identify what an analysis is about, by its scope (`settings.Scope`)."""

NETWORK, TABLE, COST, EXAMPLES = ".safetensors", ".csv", ".cost.json", ".examples.safetensors"
CURVE, TRACE = f".curve{TABLE}", f".trace{TABLE}"
"""Suffixes of the tables beside a checkpoint: its learning curve, and the trace of its pruning."""
RESUME = f".resume{NETWORK}"
"""Suffix of the resume point beside the output of a job that has not ended."""

DATA = "data"
DATA_FILE = f"{DATA}{NETWORK}"
DATA_PATTERN = f"{{dataset}}/{DATA}"
CORRUPTED = "corrupted"
CORRUPTED_PATTERN = f"{{dataset}}/{CORRUPTED}"
PARENT_PATTERN = "{dataset}/{model}/{objective}/seed{seed}"
ANALYSIS = "analyses/{analysis}"
CELL_PATTERN = f"{PARENT_PATTERN}/{{method}}-{{ratio}}"
CHECKPOINT_PATTERN = f"{PARENT_PATTERN}/{{checkpoint}}"
INITIAL_PATTERN, DENSE_PATTERN, PRUNED_PATTERN, FINETUNED_PATTERN, GRAFTED_PATTERN = (
    f"{PARENT_PATTERN}/{INITIAL}",
    f"{PARENT_PATTERN}/{DENSE}",
    f"{CELL_PATTERN}/pruned",
    f"{CELL_PATTERN}/finetuned",
    f"{CELL_PATTERN}/{GRAFTED}",
)
VARIANT_PATTERN = f"{PARENT_PATTERN}/{{of}}+{{variant}}"
ATTACK_PATTERN = f"{CHECKPOINT_PATTERN}/attacks/{{attack}}"
VERIFIER_PATTERN = f"{CHECKPOINT_PATTERN}/verifiers/{{verifier}}"
OUTPUTS = "outputs"
OUTPUTS_PATTERN = f"{CHECKPOINT_PATTERN}/{OUTPUTS}"
FIGURE_PATTERN, FIGURE_JOB = "figures/{dataset}.{model}.{figure}", "{dataset}/{model}/{figure}"
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
    **dict.fromkeys((*LABEL_COLUMNS, "method"), LABEL),
    **dict.fromkeys(("attack", "verifier"), _SWEPT),
    "seed": r"\d+",
    "ratio": RATIO,
    "checkpoint": rf"(?:{DENSE}|{LABEL}-{RATIO}/(?:{_PRUNED}))(?:\+{LABEL})?",
    "of": f"{DENSE}|{LABEL}-{RATIO}/(?:{_PRUNED})",
    "variant": LABEL,
}
"""Regular expressions of the names in the patterns."""

JOB_OF_CELL = (
    r"^(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<objective>[^/]+)/seed(?P<seed>\d+)"
    rf"/(?P<method>.+)-(?P<ratio>{RATIO})/(?P<of>[^/]+)"
)
"""Regular expression of the beginning of a job's path, for jobs of pruned networks: cell, seed, and `of`, the stage."""

_BY_FOLDER = {"attacks": "attack", "verifiers": "verify", "analyses": "analyse"}
_BY_NAME = {CORRUPTED: "corrupt", DENSE: "pretrain", "pruned": "prune", "finetuned": "finetune", GRAFTED: "graft"}
_BY_NAME |= {name: name for name in (DATA, INITIAL, OUTPUTS)}
_OF_VARIANTS = "quantise"
SHAPE = "DATASET/MODEL/OBJECTIVE/seedN/dense or .../seedN/METHOD-RATIO/pruned or .../finetuned or .../grafted"


def variant_name(stage: str, variant: str) -> str:
    """The stage of a variant of the checkpoint after a `stage`: `finetuned+int8`."""
    return f"{stage}+{variant}"


def base_of(stage: str) -> str:
    """The stage of the checkpoint that a variant is of, `finetuned` for `finetuned+int8`; any other stage itself."""
    return stage.partition("+")[0]


def variant_of(stage: str) -> str:
    """The label of a variant, `int8` for `finetuned+int8`; empty for any other stage."""
    return stage.partition("+")[2]


def is_in_family(stage: str) -> bool:
    """Whether an analysis of scope `family` has the network after a stage: the dense one or a pruned one, no dense variant."""
    return stage == DENSE or base_of(stage) != DENSE


class Parent(NamedTuple):
    """A dense network: data set x model x objective x seed."""

    dataset: str
    model: str
    objective: str
    seed: int

    @property
    def labels(self) -> tuple[str, str, str]:
        """The values of `LABEL_COLUMNS`."""
        return self.dataset, self.model, self.objective

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
        return f"{self.parent.path}/{cell_name(self)}"


def cell_name(cell: Cell) -> str:
    """The folder of a pruned network, `METHOD-RATIO`, below that of the dense one."""
    return f"{cell.method}-{ratio_label(cell.ratio)}"


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
        method, ratio = (self.cell.method, self.cell.ratio) if self.cell else (self.stage, 0.0)
        return _identity(self.parent._asdict() | {"method": method, "ratio": ratio, "stage": self.stage})


def identity_of(header: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's identity by its header: values of `IDENTITY` by name."""
    return _identity({"method": header["stage"], "ratio": 0.0} | header["cell"] | {"stage": header["stage"]})


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


def subject_folder(scope: str, one: Checkpoint) -> str:
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
        return dict(zip(SCOPE_COLUMNS[scope], (*parts[-4:-1], int(parts[-1].removeprefix("seed"))), strict=True))
    own = list(parts[-5:] if base_of(parts[-1]) in UNPRUNED else parts[-6:])
    if scope == "seeds":
        own[3] = "seed0"
    found = parse("/".join(own)).identity()
    return {column: found[column] for column in SCOPE_COLUMNS[scope]}


def place_of(table: Path) -> Path:
    """The `place` that an analysis' table, `.../analyses/NAME.csv`, lies in."""
    return table.parents[1]


def family_name(identity: dict[str, Any]) -> str:
    """The name `dataset/model/objective` of the family of an identity, or as much of it as this has."""
    return "/".join(str(identity[column]) for column in LABEL_COLUMNS if column in identity)


def ratio_label(ratio: float) -> str:
    """A ratio as text for paths: all of its decimals, at least two."""
    digits = f"{Decimal(repr(ratio)):f}"
    return digits.ljust(len("0.00"), "0")


def parse(path: str) -> Checkpoint:
    """The checkpoint with this `path`. Raises ValueError if it is not the path of one."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} names no checkpoint; valid: {SHAPE}")
    dataset, model, objective, seed, unpruned, method, ratio, stage = found.groups()
    parent = Parent(dataset, model, objective, int(seed))
    cell = Cell(parent, method, float(ratio)) if method else None
    checkpoint = Checkpoint(parent, cell, stage or unpruned)
    if checkpoint.path != path:
        raise ValueError(f"{path!r} would lie at {checkpoint.path!r}; write it so")
    return checkpoint


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint whose file is at `path`, in any results folder. Raises ValueError if it is not the path of one."""
    parts = path.absolute().with_suffix("").parts
    return parse("/".join(parts[-5 if base_of(path.stem) in UNPRUNED else -6 :]))


def stage_of(job: str) -> str:
    """The stage that does a job: `pretrain` for `.../dense`, `attack` for `.../attacks/pgd`. Raises KeyError if none does."""
    *above, folder, name = ("", *job.split("/"))
    # No attacks and verifiers lie beside data sets, one of which may have that label.
    found = None if above == [""] and folder in ("attacks", "verifiers") else _BY_FOLDER.get(folder)
    return found or (_OF_VARIANTS if variant_of(name) else _BY_NAME[name])


def checkpoint_of(job: str) -> Checkpoint | None:
    """The checkpoint that a job makes or is about; None for a job about none or about several."""
    found = _PATH.match(job)
    return parse(found[0]) if found else None


def parent_file(path: Path, kind: str, parent_stage: str | None = None) -> Path | None:
    """The file of the checkpoint that `path`, of a `kind` as in `headers.kind`, was made from; None for an initial network.

    `parent_stage` says of a pruned network what it was before: `dense`, also if not given, or `initial`.
    """
    # A compact network, of an older study, is in a folder with the checkpoint's name; Path(".") has no name.
    folder = Path(os.path.abspath(path)).parent.name
    if variant_of(kind):
        return Path(os.path.normpath(path.parent / f"{base_of(kind)}{NETWORK}"))
    place = {
        DENSE: path.parent / f"{INITIAL}{NETWORK}",
        "pruned": path.parent / ".." / f"{parent_stage or DENSE}{NETWORK}",
        "finetuned": path.parent / f"pruned{NETWORK}",
        GRAFTED: path.parent / f"finetuned{NETWORK}",
        "compact": path.parent / ".." / f"{folder}{NETWORK}",
    }.get(kind)
    return place and Path(os.path.normpath(place))


def data_job(dataset: str) -> str:
    """The job that prepares a data set: the path of its file below the results folder, without suffix."""
    return DATA_PATTERN.format(dataset=dataset)


def data_path(dataset: str) -> str:
    """Path of a data set's file, relative to the results folder."""
    return data_job(dataset) + NETWORK


def corrupted_job(dataset: str) -> str:
    """The job that corrupts a data set's test images, likewise."""
    return CORRUPTED_PATTERN.format(dataset=dataset)


def outcome_job(room: str, name: str) -> str:
    """The job of the `room`, attacks or verifiers, that has that name, below the folder of its checkpoint: `attacks/pgd`."""
    return f"{room}/{name}"


def table_below(checkpoint: Path, job: str) -> Path:
    """The table of a job (see `outcome_job`) of the checkpoint at a path without suffix."""
    return checkpoint / f"{job}{TABLE}"


def outputs_job(checkpoint: str) -> str:
    """The job that writes down the logits of the checkpoint with that `path`."""
    return f"{checkpoint}/{OUTPUTS}"


def outputs_of(checkpoint: Path) -> Path:
    """The file of the logits of the checkpoint whose file is at a path."""
    return checkpoint.with_suffix("") / f"{OUTPUTS}{NETWORK}"


def study_table(name: str) -> str:
    """A table of the whole study, relative to the results folder."""
    return f"{name}{TABLE}"


def study_page(name: str) -> str:
    """The same as HTML."""
    return f"tables/{name}.html"


def figure_path(dataset: str, model: str, figure: str) -> str:
    """A figure, relative to the results folder, without suffix."""
    return FIGURE_PATTERN.format(dataset=dataset, model=model, figure=figure)


def log_path(job: str) -> str:
    """The log of a job, relative to the results folder. A job of the whole study is named by its rule."""
    return f"logs/{job}.log"


def data_file(path: Path, stage: str, compact: bool = False) -> Path:
    """The file of the data set of the checkpoint at `path`, of that `stage`, or of the `compact` form of one."""
    up = (3 if base_of(stage) in UNPRUNED else 4) + compact
    return Path(os.path.normpath(path.parent / "/".join([".."] * up) / DATA_FILE))


def subject_of(path: Path) -> Path | None:
    """The checkpoint that a table, or a file of examples or of logits, belongs to, by its name or by the folder that it lies
    in; else None."""
    absolute = Path(os.path.abspath(path))
    for up, name in enumerate((absolute.name.split(".")[0], absolute.parent.name, absolute.parent.parent.name)):
        found = Path(os.path.normpath(path.parent / "/".join([".."] * up) / f"{name}{NETWORK}"))
        if found.is_file() and found != Path(os.path.normpath(path)):
            return found
    return None
