"""The key maps that come with Sparrow: a YAML file for each naming convention. Imports nothing that takes time."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).with_name("keymaps")
OURS = "ours"
SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """Names of the conventions that come with Sparrow; the first is our own."""
    return [OURS, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def is_file(name: str) -> bool:
    """Whether `name` is the path of a user's file, rather than a convention that comes with Sparrow."""
    return Path(name).suffix in SUFFIXES


def path_of(name: str) -> Path:
    """The file of a map: of one of `names` except the first, or the user's own."""
    return Path(name) if is_file(name) else FOLDER / f"{name}.yaml"


def digest(name: str) -> str | None:
    """SHA-256 of the file of a convention that comes with Sparrow; None for our own names and for a user's file."""
    if name == OURS or is_file(name):
        return None
    return hashlib.sha256(path_of(name).read_bytes()).hexdigest()
