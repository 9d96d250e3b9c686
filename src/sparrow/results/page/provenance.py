"""Where the numbers come from: the environment, and the digests behind each row."""

from __future__ import annotations

import json
from typing import Any

from sparrow.files.paths import IDENTITY
from sparrow.results.page.grid import Column, Grid, grid, texts
from sparrow.results.page.study_data import StudyData

DIGITS = 12
"""Of a digest, as many as lineage prints."""


def provenance(data: StudyData) -> Grid:
    """The grid of provenance.csv, digests cut to their first digits."""
    table = data.table("provenance")
    short = {name: [text[:DIGITS] if _is_digest(name) else text for text in texts(table[name])] for name in map(str, table)}
    names = [name for name in IDENTITY if name in short]
    columns = [Column(name, "text", short[name], chosen_by=name in ("objective", "method", "ratio")) for name in names]
    columns += [
        Column(name.replace("_", " "), "text", values, shown=name.endswith("sha256"))
        for name, values in short.items()
        if name not in names
    ]
    return grid("provenance", columns)


def _is_digest(name: str) -> bool:
    return name.endswith(("sha256", "code", "config", "data", "content"))


def environment(data: StudyData) -> list[tuple[str, str]]:
    """What the page was made in, by item."""
    about: dict[str, Any] = json.loads(data.environment.read_text(encoding="utf-8"))
    git = about["git"]
    changed = ", ".join(git["changed"]) or "no"
    items = {"git commit": git["commit"], "changed since": changed, "device": about["device"], "system": about["system"]}
    items |= {name: version or "not installed" for name, version in about["packages"].items()}
    return [(name, str(value)) for name, value in items.items()]
