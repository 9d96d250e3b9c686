"""The refusal of YAML with equal keys in one mapping: YAML would silently take the last, and a method would be lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from sparrow.errors import ConfigError


def refuse_duplicates(path: Path) -> None:
    """Raise ConfigError, one line per mistake, if a mapping in the YAML file has a key twice, or holds itself."""
    refuse_loops(path)
    found = list(_duplicates(yaml.compose(Path(path).read_text(encoding="utf-8"))))
    if found:
        lines = (f"{path}: {key}: is there twice, in lines {first} and {second}; keep one" for key, first, second in found)
        raise ConfigError("\n".join(lines))


def refuse_loops(path: Path) -> None:
    """Raise ConfigError, in one line, if a mapping or a list in the YAML file holds itself."""
    if _holds_itself(yaml.compose(Path(path).read_text(encoding="utf-8")), ()):
        raise ConfigError(f"{path}: an alias is part of what it stands for; valid: one that is not")


def _holds_itself(node: yaml.Node | None, above: tuple[yaml.Node, ...]) -> bool:
    """Whether a node, or one below it, is also one of the nodes above itself."""
    if any(node is other for other in above):
        return True
    if not isinstance(node, yaml.CollectionNode):
        return False
    below = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    return any(_holds_itself(part, (*above, node)) for part in below)


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
