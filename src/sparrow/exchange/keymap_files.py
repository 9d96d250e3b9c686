"""The key maps that come with Sparrow, by name: one YAML file a convention. Imports nothing that takes time."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).with_name("keymaps")
OURS = "ours"
SUFFIXES = (".yaml", ".yml")


def known() -> list[str]:
    """Names of the conventions that come with Sparrow; the first is our own."""
    return [OURS, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def is_file(name: str) -> bool:
    """Whether a map is a file of the user's, and not one of those that come with Sparrow."""
    return Path(name).suffix in SUFFIXES


def place(name: str) -> Path:
    """The file of a map: one of `known` but the first, or the user's own."""
    return Path(name) if is_file(name) else FOLDER / f"{name}.yaml"


def digest(name: str) -> str | None:
    """SHA-256 of a map that comes with Sparrow; None for our own names and for a file of the user's."""
    if name == OURS or is_file(name):
        return None
    return hashlib.sha256(place(name).read_bytes()).hexdigest()
