"""What the file of an entry should say, but works without. Imports no torch."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from sparrow import catalogue
from sparrow.catalogue import Room

SLOW = {"torch", "torchvision", "auto_LiRPA"}
"""Packages that take seconds to import."""


def unsaid(room: Room, kind: str) -> Iterator[str]:
    """A line, naming the file, for each thing that an entry does not say of itself, and for each slow import at its top."""
    entry = catalogue.load(room, kind)
    if not inspect.getdoc(entry):
        yield f"{entry.__file__}: has no docstring; its first sentence would be in the table of entries"
    elif not catalogue.source(room, kind):
        yield f"{entry.__file__}: its docstring has no paragraph `Source: ...`; where does it come from?"
    for name, field in entry.Params.model_fields.items():
        if name in vars(entry.Params).get("__annotations__", {}) and not field.description:
            yield f"{entry.__file__}: Params.{name} has no docstring below it; it would be its description in docs/options.md"
    for line, package in _slow(ast.parse(Path(str(entry.__file__)).read_text(encoding="utf-8")).body):
        use = "`from sparrow.lazy_torch import torch`, or an import" if package == "torch" else "an import"
        yield f"{entry.__file__}: line {line} imports {package}, which every command then waits for; valid: {use} in a function"


def _slow(statements: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Lines and names of the slow packages that are imported as soon as a file is."""
    for one in statements:
        names = [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
        if isinstance(one, ast.ImportFrom) and not one.level:
            names = [one.module or ""]
        yield from ((one.lineno, name.partition(".")[0]) for name in names if name.partition(".")[0] in SLOW)
        if isinstance(one, ast.Try):
            yield from _slow(one.body)
