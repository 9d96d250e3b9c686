"""Checkpoint files as they lie on disk, and headers of all files of ours, readable without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from sparrow.errors import CheckpointError, InheritedError

FORMAT = "sparrow-checkpoint/1"
COMPACT_FORMAT = "sparrow-compact/1"
STAGES = ("dense", "pruned", "finetuned", "compact")
KEYS = ("stage", "cell", "model", "shape", "classes", "data", "data_regime", "parameters", "prunable", "multiply_adds")
KEYS += ("config", "code", "parent", "versions", "device")


def read(path: Path, framework: Literal["pt", "np"] = "pt", expected: str = FORMAT) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors (torch's or numpy's) of a checkpoint.

    Raises CheckpointError, naming the file, if it is missing, truncated or not written by Sparrow; InheritedError if it
    records why there is no network.
    """
    header = read_header(path, expected)
    if "failed" in header:
        raise InheritedError(header["failed"])
    with safe_open(path, framework=framework) as file:
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def failure(path: Path) -> dict[str, Any] | None:
    """The header (`stage`, `cell`, and `failed`, the reason) of a checkpoint that records why there is no network."""
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
        raise CheckpointError(f"{path}: format {found!r}, expected {' or '.join(map(repr, expected))}")
    if found not in (FORMAT, COMPACT_FORMAT):
        return header
    missing = [key for key in KEYS if key not in header]
    if "failed" not in header and missing:
        raise CheckpointError(f"{path}: the header lacks {', '.join(missing)}")
    if header.get("stage") not in STAGES:
        raise CheckpointError(f"{path}: the header's stage is {header.get('stage')!r}, expected one of {', '.join(STAGES)}")
    for key in ("config", "versions"):
        if not isinstance(header.get(key, {}), dict):
            raise CheckpointError(f"{path}: the header's {key} is {header[key]!r}, expected a table of keys and values")
    return header


def sha256(path: Path) -> str:
    """SHA-256 of a file, by which checkpoints name their parents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
