"""The entries that a study can name: each module of a room is one, named after its file.

A room is a package (`sparrow.methods`, ...). Each of its modules that does not start with an underscore is an entry of
the configuration: `methods/my_method.py` is the method `my-method`. There is nothing else to register.

Entries of one's own may lie elsewhere: in folders that a study names as its `entries`, and in installed packages that an entry
point of the group `sparrow.entries` names. Each is laid out as this package is, with a folder for each room, and searched after
the room itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Room = Literal["datasets", "models", "objectives", "methods", "attacks", "verifiers", "analyses"]
EvaluatedRoom = Literal["attacks", "verifiers"]
EVALUATED_ROOMS: tuple[EvaluatedRoom, ...] = ("attacks", "verifiers")

PACKAGES: dict[Room, str] = {
    "datasets": "sparrow.datasets",
    "models": "sparrow.models",
    "objectives": "sparrow.objectives",
    "methods": "sparrow.methods",
    "attacks": "sparrow.attacks",
    "verifiers": "sparrow.verifiers",
    "analyses": "sparrow.analyses",
}


OWN = "SPARROW_ENTRIES"
"""The environment variable with the folders of a study's own entries, which its jobs have from the workflow."""
ENTRY_POINTS = "sparrow.entries"


def admit(folders: Iterable[str]) -> None:
    """Let a study name the entries in `folders`, too, in this process and in those that it starts. The first thing to be done:
    what entries there are is asked once."""
    os.environ[OWN] = os.pathsep.join(map(os.path.abspath, folders))


@cache
def own_folders() -> list[Path]:
    """The folders of entries of one's own: those of the study, and those of installed packages."""
    named = [Path(folder) for folder in os.environ.get(OWN, "").split(os.pathsep) if folder]
    for point in metadata.entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(point.value)
        named += map(Path, (spec.submodule_search_locations if spec else None) or ())
    return named


@cache
def package(room: Room) -> ModuleType:
    """The package of a room, which also finds what lies in one's own folders of that name."""
    found = importlib.import_module(PACKAGES[room])
    found.__path__.extend(str(folder / room) for folder in own_folders() if (folder / room).is_dir())
    return found


def module(name: str) -> ModuleType:
    """The module of that full name, which may be an entry's, also one of one's own."""
    for room, packaged in PACKAGES.items():
        if name.startswith(f"{packaged}."):
            package(room)
    return importlib.import_module(name)


@cache
def kinds(room: Room) -> list[str]:
    """Names of the entries of `room`, sorted."""
    modules = (info.name for info in pkgutil.iter_modules(package(room).__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def module_name(room: Room, kind: str) -> str:
    """Full name of the module behind an entry, such as `sparrow.objectives.crown_ibp`."""
    return f"{PACKAGES[room]}.{kind.replace('-', '_')}"


def load(room: Room, kind: str) -> ModuleType:
    """The module behind an entry. Raises ModuleNotFoundError for a name that `kinds` does not list."""
    if kind not in kinds(room):
        raise ModuleNotFoundError(f"{room} has no {kind!r}")
    return importlib.import_module(module_name(room, kind))


def from_spec(room: Room, spec: dict) -> tuple[ModuleType, Any]:
    """The module and the parameters that a resolved piece of configuration, `{"kind": ..., **parameters}`, stands for."""
    parameters = dict(spec)
    entry = load(room, parameters.pop("kind"))
    return entry, entry.Params(**parameters)


def summary(room: Room, kind: str) -> str:
    """First paragraph of the entry's docstring, on one line."""
    doc = inspect.getdoc(load(room, kind)) or ""
    return " ".join(doc.split("\n\n")[0].split())


def source(room: Room, kind: str) -> str:
    """The text after `Source:` in the entry's docstring, on one line; empty if there is none."""
    doc = inspect.getdoc(load(room, kind)) or ""
    match = re.search(r"^Source: (.+?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def bibtex(room: Room, kind: str) -> str:
    """BibTeX of the papers that the entry comes from: what follows `BibTeX:` in its docstring, empty if nothing does."""
    return bibtex_of(load(room, kind))


def bibtex_of(module: ModuleType) -> str:
    """What follows `BibTeX:` in a module's docstring; empty if nothing does."""
    return (inspect.getdoc(module) or "").partition("\nBibTeX:\n")[2].strip()
