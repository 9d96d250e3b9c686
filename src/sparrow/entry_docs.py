"""What an entry's file says about itself."""

from __future__ import annotations

import inspect
import re

from sparrow.catalogue import Room, load


def summary(room: Room, kind: str) -> str:
    """First paragraph of the entry's docstring, on one line."""
    doc = inspect.getdoc(load(room, kind)) or ""
    return " ".join(doc.split("\n\n")[0].split())


def source(room: Room, kind: str) -> str:
    """Where the entry comes from: what follows `Source:` in its docstring."""
    doc = inspect.getdoc(load(room, kind)) or ""
    match = re.search(r"^Source: (.+?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return " ".join(match[1].split()) if match else ""
