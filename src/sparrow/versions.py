"""Versions of installed packages, found without importing them."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from pathlib import Path

SPARROW = Path(__file__).with_name("VERSION").read_text().strip()
"""A text file, not code: a release that changes no stage must not run the stages again."""


@cache
def installed(package: str) -> str | None:
    """Version of a package, such as `2.6.0`; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python, of Sparrow and of `packages`."""
    return {"python": platform.python_version(), "sparrow": SPARROW, **{name: installed(name) for name in packages}}
