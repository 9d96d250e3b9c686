"""YAML takes the last of two equal keys and says nothing: a method that is there twice would be lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from sparrow.errors import ConfigError


def refuse_duplicates(path: Path) -> None:
    """Raise ConfigError, one line per mistake, if a mapping in the YAML file has a key twice, or holds itself."""
    try:
        found = list(_duplicates(yaml.compose(Path(path).read_text(encoding="utf-8"))))
    except RecursionError:
        raise ConfigError(f"{path}: an alias is part of what it stands for; valid: one that is not") from None
    if found:
        lines = (f"{path}: {key}: is there twice, in lines {first} and {second}; keep one" for key, first, second in found)
        raise ConfigError("\n".join(lines))


def _duplicates(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """Key and line numbers of every key that its mapping already has."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{prefix}{key.value}", key.start_mark.line + 1
            if name in seen:
                yield name, seen[name], line
            seen[name] = line
            yield from _duplicates(value, f"{name}.")
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _duplicates(value, f"{prefix}{place}.")
