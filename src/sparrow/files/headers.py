"""Headers of all of Sparrow's safetensors files, and the raw tensors of checkpoints. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from sparrow.errors import CheckpointError, InheritedError
from sparrow.files import content
from sparrow.files.digests import content_digest
from sparrow.files.paths import base_of

FORMAT = "sparrow-checkpoint/2"
COMPACT_FORMAT = "sparrow-compact/2"
DATA_FORMAT = "sparrow-data/3"
EXAMPLES_FORMAT = "sparrow-examples/3"
OUTPUTS_FORMAT = "sparrow-outputs/1"
CORRUPTED_FORMAT = "sparrow-corrupted/1"
"""(`COMPACT_FORMAT` is that of a file beside the checkpoint of an older study, which held the network without its filters.)"""
STAGES = ("initial", "dense", "pruned", "finetuned", "grafted", "compact")
"""Those of checkpoints; that of a variant is one of these, and behind it its label (`paths.variant_name`)."""
KEYS = (
    *("stage", "cell", "model", "shape", "classes", "data", "data_regime", "parameters", "prunable", "multiply_adds"),
    *("config", "code", "parent", "versions", "device", "content"),
)
KEYS_OF = {
    FORMAT: KEYS,
    COMPACT_FORMAT: (*KEYS, "parameters_left"),
    DATA_FORMAT: ("digest", "content", "shape", "classes", "white", "regime", "parts"),
    EXAMPLES_FORMAT: ("content",),
    OUTPUTS_FORMAT: ("network", "data", "config", "code", "content"),
    CORRUPTED_FORMAT: ("content", "data"),
}
"""Keys that the header of each format must have, unless it records a failure."""
MASK, KEPT = "mask/", "kept/"
"""What the names of a checkpoint's tensors begin with besides its weights; see `checkpoint`."""


def read(path: Path, framework: Literal["pt", "np"] = "pt", expected: str = FORMAT) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors (torch's or numpy's) of a checkpoint.

    Raises CheckpointError, naming the file, if it is missing, truncated, not written by Sparrow, or if its tensors are not
    those that its header names; InheritedError if it records that there is no network, and why.
    """
    header = read_header(path, expected)
    if "failed" in header:
        raise InheritedError(header["failed"])
    with safe_open(path, framework=framework) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    content.require(path, header["content"], content_digest(sorted(tensors.items())))
    return header, tensors


def kept_in(tensors: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """What the tensors of a file say to have kept, by the name of the tensor that lost something, and by dimension."""
    found: dict[str, dict[int, Any]] = {}
    for key in sorted(name for name in tensors if name.startswith(KEPT)):
        dimension, _, name = key.removeprefix(KEPT).partition("/")
        found.setdefault(name, {})[int(dimension) if dimension.isdecimal() else -1] = tensors[key]
    return found


def full_shape(shape: Sequence[int], slices: Mapping[int, Any]) -> tuple[int, ...]:
    """The shape of a tensor before it lost all but these `slices` (see `kept_in`); `shape` is what it has now."""
    return tuple(slices[dimension].shape[-1] if dimension in slices else size for dimension, size in enumerate(shape))


def failure(path: Path) -> dict[str, Any] | None:
    """The header of a checkpoint that records that there is no network (`failed` is the reason); None for any other."""
    header = read_header(path)
    return header if "failed" in header else None


def read_header(path: Path, *expected: str) -> dict[str, Any]:
    """The header of a checkpoint, or of a file of one of the `expected` formats. Tensors are not read.

    Raises CheckpointError, naming the file, if it is missing, truncated, of another format, or if its header lacks a key.
    """
    expected = expected or (FORMAT,)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({error})") from None
    try:
        header = json.loads(metadata["sparrow"])
    except (KeyError, json.JSONDecodeError):
        raise CheckpointError(f"{path}: a safetensors file, but not written by Sparrow (no header)") from None
    found = header.get("format") if isinstance(header, dict) else header
    if found not in expected:
        raise CheckpointError(f"{path}: format {found!r}, expected {' or '.join(map(repr, expected))}{_older(found, expected)}")
    missing = [key for key in KEYS_OF.get(found, ()) if key not in header]
    if "failed" not in header and missing:
        raise CheckpointError(f"{path}: the header lacks {', '.join(missing)}; delete the file and run again")
    if found not in (FORMAT, COMPACT_FORMAT):
        return header
    if base_of(str(header.get("stage"))) not in STAGES:
        raise CheckpointError(f"{path}: the header's stage is {header.get('stage')!r}, expected one of {', '.join(STAGES)}")
    for key in ("config", "versions"):
        if not isinstance(header.get(key, {}), dict):
            raise CheckpointError(f"{path}: the header's {key} is {header[key]!r}, expected a table of keys and values")
    return header


def _older(found: object, expected: tuple[str, ...]) -> str:
    """The end of a message about a file that another version of Sparrow wrote; empty for any other file."""
    kind = str(found).rpartition("/")[0]
    if not kind or not any(form.startswith(f"{kind}/") for form in expected):
        return ""
    return ": another version of Sparrow wrote it; delete it, and what was made from it, and run again"


def kind(header: dict[str, Any]) -> str:
    """The stage of the network in a file: `initial`, `dense`, `pruned`, `finetuned`, `grafted`, `compact`, or a variant."""
    return "compact" if header["format"] == COMPACT_FORMAT else header["stage"]


def sha256(path: Path) -> str:
    """SHA-256 of a file, by which checkpoints name their parents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
