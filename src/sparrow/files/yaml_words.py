"""The refusal of ambiguous words: YAML 1.1 reads `yes` as true, `030` as 24, `1:30` as 90 and `0x10` as 16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from sparrow.errors import ConfigError

_TRUTH = {"true", "True", "TRUE", "false", "False", "FALSE"}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_PADDED = re.compile(r"[-+]?0[0-7_]+")
_BOOL, _INT, _FLOAT, _DATE, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp", "str"))


def refuse_ambiguous(path: Path) -> None:
    """Raise ConfigError, one line per mistake, for each value or key that YAML 1.1 may read otherwise than meant.

    As values: truth values other than true and false, numbers that are not written in plain decimals, and dates; as keys,
    which are labels: everything that YAML does not read as the text that is written.
    """
    root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    lines = [f"{path}: {line}" for line in dict.fromkeys(_ambiguous(root))]
    if lines:
        raise ConfigError("\n".join(lines))


def _ambiguous(node: yaml.Node | None, key: str = "") -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            below = f"{key}.{name.value}" if key else str(name.value)
            if isinstance(name, yaml.ScalarNode) and (meant := _label(name)):
                yield f"{below}: the key {meant}, in line {name.start_mark.line + 1}"
            yield from _ambiguous(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _ambiguous(value, f"{key}.{place}" if key else str(place))
    elif isinstance(node, yaml.ScalarNode) and (meant := _value(node)):
        yield f"{key}: {meant}, in line {node.start_mark.line + 1}"


def _label(node: yaml.ScalarNode) -> str:
    """What is wrong with a key; empty if nothing is."""
    text = node.value
    plain = node.tag == _TEXT or node.style is not None or node.tag == "tag:yaml.org,2002:merge"
    if plain or (node.tag == _INT and re.fullmatch("0|[1-9][0-9]*", text)):
        return ""
    return f"{text!r} is {_read(node)} to YAML; write '{text}' in quotes"


def _value(node: yaml.ScalarNode) -> str:
    """What is wrong with a value; empty if nothing is."""
    text = node.value
    if node.style is not None:
        return ""
    if node.tag == _BOOL and text not in _TRUTH:
        return f"{text!r} is {_read(node)} to YAML; write {_read(node)}, or '{text}' in quotes for a text"
    if node.tag == _INT and not _WHOLE.fullmatch(text):
        meant = _PADDED.fullmatch(text) and text.replace("_", "").replace("0", "", 1).lstrip("0")
        return f"{text!r} is {_read(node)} to YAML; write {meant or _read(node)}, or '{text}' in quotes for a text"
    if (node.tag == _FLOAT and ":" in text) or node.tag == _DATE:
        return f"{text!r} is {_read(node)} to YAML; write a decimal number, or '{text}' in quotes for a text"
    return ""


def _read(node: yaml.ScalarNode) -> str:
    """The value that YAML reads, as YAML would write it: `true`, `24`, `the date 2020-01-01`."""
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError):
        return "nothing"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"the date {value}" if node.tag == _DATE else f"{value}"
