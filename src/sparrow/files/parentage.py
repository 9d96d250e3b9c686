"""The parent of a checkpoint: its path, and the refusal of another file in its place. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparrow.errors import CheckpointError
from sparrow.files import content
from sparrow.files.headers import kind, read_header, sha256
from sparrow.files.paths import parent_file


def refuse_other_parents(path: Path, header: dict[str, Any], digest: Callable[[Path], str] = sha256) -> None:
    """Raise CheckpointError if `path`, or one of the checkpoints behind it, has another parent than is there now.

    A missing parent is fine: checkpoints are copied, and their parents removed to save space. `digest`
    returns the SHA-256 of a file; callers may pass a cached one.
    """
    while named := header.get("parent"):
        parent = parent_file(path, kind(header), header.get("parent_stage"))
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
