"""Turns pydantic's errors into lines that say which key, which value, and what would be valid."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sparrow import catalogue

ROOMS = {"datasets": "data set", "models": "model", "objectives": "objective", "methods": "method"} | {
    "attacks": "attack",
    "verifiers": "verifier",
    "analyses": "analysis",
}

LABEL = r"^[a-z0-9]+(-[a-z0-9]+)*$"
FOLDER = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
PATTERNS = {
    LABEL: "be small letters and digits, with single hyphens between them, such as lwm-global",
    FOLDER: "be a path below the working directory, of letters, digits, '_', '-' and '.' (no spaces), such as results/mine",
}
"""What has to match these patterns, in words."""


def explain(error: ValidationError, study: type[BaseModel]) -> Iterator[str]:
    """One line per mistake."""
    for mistake in error.errors():
        location = list(mistake["loc"])
        kind: str | None = None
        if len(location) > 2 and location[0] in ROOMS:
            kind = str(location.pop(2))  # The tag of the union is no key of the user's.
        key = ".".join(map(str, location)) or "study"
        yield _line(mistake, key, location, kind, study)


def _line(mistake: ErrorDetails, key: str, location: list, kind: str | None, study: type[BaseModel]) -> str:
    value = mistake.get("input")
    match mistake["type"]:
        case "union_tag_invalid":
            tag = mistake["ctx"]["tag"]
            valid = [name.strip(" '") for name in mistake["ctx"]["expected_tags"].split(",")]
            return f"{key}: unknown {ROOMS[location[0]]} {tag!r}{_closest(tag, valid)}; valid: {', '.join(valid)}"
        case "extra_forbidden":
            valid = sorted(_keys(study, location[:-1], kind))
            name = str(location[-1])
            if location == [name] and name in catalogue.kinds("analyses"):
                return f"{key}: is an analysis now; write it below that key: analyses: {{{key}: {_inline(value)}}}"
            choice = ", ".join(valid) or "none"
            return f"{key}: unknown key {name!r} (value {value!r}){_closest(name, valid)}; valid keys: {choice}"
        case "missing":
            return f"{key}: missing; this key is required"
        case "value_error":
            message = str(mistake["ctx"]["error"])
            return message if not location else f"{key}: {message}"
        case "too_short":
            return f"{key}: {value!r} is empty; give at least one entry"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key}: {value!r} is not valid: must be a mapping of keys to values"
        case "string_pattern_mismatch":
            pattern = mistake["ctx"]["pattern"]
            return f"{key}: {value!r} is not valid: must {PATTERNS.get(pattern, f'match {pattern}')}"
        case _:
            message = mistake["msg"].replace("Input should be", "must be")
            return f"{key}: {value!r} is not valid: {message}"


def _inline(value: Any) -> str:
    """A mapping as YAML has it on one line; nothing for an empty one, nor for another value, which is not valid there."""
    return json.dumps(value).replace('"', "") if value and isinstance(value, dict) else ""


def _closest(word: str, valid: list[str]) -> str:
    matches = difflib.get_close_matches(word, valid, n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""


def _keys(model: type[BaseModel], location: list, kind: str | None) -> list[str]:
    """The keys that are valid at `location`."""
    for step in location:
        if isinstance(step, str) and step in model.model_fields:
            candidates = list(_models(model.model_fields[step].annotation))
        else:
            continue
        tagged = [m for m in candidates if kind is not None and _tag(m) == kind]
        model = (tagged or candidates or [model])[0]
    return list(model.model_fields)


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """All models inside a type, however nested."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not None or isinstance(annotation, UnionType):
        for argument in typing.get_args(annotation):
            yield from _models(argument)
