"""The parent of a checkpoint: its path, and the refusal of another file in its place. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparrow.errors import CheckpointError
from sparrow.files import content
from sparrow.files.headers import COMPACT_FORMAT, read_header, sha256


def kind(header: dict[str, Any]) -> str:
    """The stage of the network in a file: `dense`, `pruned`, `finetuned` or `compact`."""
    return "compact" if header["format"] == COMPACT_FORMAT else header["stage"]


def parent_path(path: Path, header: dict[str, Any]) -> Path | None:
    """Path of the checkpoint that `path` was made from, by the layout of a results folder; None for a dense network."""
    # The folder that a compact network lies in is named after the checkpoint; "." has no name.
    folder = Path(os.path.abspath(path)).parent.name
    place = {
        "pruned": path.parent / ".." / "dense.safetensors",
        "finetuned": path.parent / "pruned.safetensors",
        "compact": path.parent / ".." / f"{folder}.safetensors",
    }.get(kind(header))
    return place and Path(os.path.normpath(place))


def refuse_other_parents(path: Path, header: dict[str, Any], digest: Callable[[Path], str] = sha256) -> None:
    """Raise CheckpointError if `path`, or one of the checkpoints behind it, has another parent than is there now.

    A missing parent is fine: checkpoints are copied, and their parents removed to save space. `digest`
    returns the SHA-256 of a file; callers may pass a cached one.
    """
    while named := header.get("parent"):
        parent = parent_path(path, header)
        if parent is None or not parent.is_file():
            return
        found = digest(parent)
        if found != named:
            _require_whole(parent)
            raise CheckpointError(
                f"{path}: was made from another {parent} than lies there now (sha256 {found[:12]}, its header names "
                f"{named[:12]}); delete it and what comes from it to make them anew"
            )
        path, header = parent, read_header(parent)


def _require_whole(path: Path) -> None:
    """Raise CheckpointError that names `path` if it is damaged; then the files made from it are not at fault."""
    header = read_header(path)
    if "content" in header:
        content.require(path, header["content"], content.of_file(path))
