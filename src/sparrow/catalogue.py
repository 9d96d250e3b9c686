"""What there is to choose from: every file of a room is one entry, named after its file.

A room is a package (`sparrow.methods`, ...). Each of its modules that does not start with an underscore is an entry of
the configuration: `methods/my_method.py` is the method `my-method`. There is nothing else to register.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from types import ModuleType
from typing import Literal

Room = Literal["datasets", "models", "objectives", "methods", "attacks", "verifiers", "analyses"]

PACKAGES: dict[Room, str] = {
    "datasets": "sparrow.datasets",
    "models": "sparrow.models",
    "objectives": "sparrow.objectives",
    "methods": "sparrow.methods",
    "attacks": "sparrow.attacks",
    "verifiers": "sparrow.verifiers",
    "analyses": "sparrow.analyses",
}

CONTRACTS: dict[Room, tuple[str, ...]] = {
    "datasets": ("Params", "describe", "load"),
    "models": ("Params", "check", "build"),
    "objectives": ("Params", "prepare"),
    "methods": ("Params", "prepare"),
    "attacks": ("Params", "NORMS", "attack"),
    "verifiers": ("Params", "NORMS", "bound|decide|certify"),
    "analyses": ("Params", "analyse"),
}
"""What the file of an entry has to define; of names with a bar between them, one."""


@cache
def kinds(room: Room) -> list[str]:
    """Names of the entries of `room`, sorted."""
    package = importlib.import_module(PACKAGES[room])
    modules = (info.name for info in pkgutil.iter_modules(package.__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def module_name(room: Room, kind: str) -> str:
    """Full name of the module behind an entry, such as `sparrow.objectives.crown_ibp`."""
    return f"{PACKAGES[room]}.{kind.replace('-', '_')}"


def load(room: Room, kind: str) -> ModuleType:
    """The module behind an entry. Raises ModuleNotFoundError for a name that `kinds` does not list."""
    if kind not in kinds(room):
        raise ModuleNotFoundError(f"{room} has no {kind!r}")
    return importlib.import_module(module_name(room, kind))


def flag(room: Room, kind: str, name: str) -> bool:
    """Whether the file of an entry sets `name` to something true: what is set to False counts as what is not set."""
    return bool(getattr(load(room, kind), name, False))


def from_spec(room: Room, spec: dict) -> tuple[ModuleType, object]:
    """The module and the parameters that a resolved piece of configuration, `{"kind": ..., **parameters}`, stands for."""
    parameters = dict(spec)
    entry = load(room, parameters.pop("kind"))
    return entry, entry.Params(**parameters)


def summary(room: Room, kind: str) -> str:
    """First paragraph of the entry's docstring, on one line."""
    doc = inspect.getdoc(load(room, kind)) or ""
    return " ".join(doc.split("\n\n")[0].split())


def source(room: Room, kind: str) -> str:
    """Where the entry comes from: what follows `Source:` in its docstring."""
    doc = inspect.getdoc(load(room, kind)) or ""
    match = re.search(r"^Source: (.+?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return " ".join(match[1].split()) if match else ""
