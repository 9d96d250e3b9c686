"""What the file of an entry has to define, and one clear line where it does not. Imports no torch."""

from __future__ import annotations

import importlib
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, get_args, get_type_hints

from pydantic import PydanticUndefinedAnnotation, TypeAdapter, ValidationError

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.errors import ConfigError
from sparrow.settings import Settings
from sparrow.study.analysis_contract import require_names, require_tables


class Contract(NamedTuple):
    """What the file of an entry has to define."""

    params: str
    """The class that its `Params` derive from, as `module:class`; that class declares the room's flags."""
    functions: tuple[str, ...]
    """The functions that it defines; of names with a bar between them, one."""
    moved: dict[str, str]
    """Constants of the file that stood for flags before, by name, and the flags that do now."""


CONTRACTS: dict[Room, Contract] = {
    "datasets": Contract("sparrow.data.split:HeldOut", ("describe", "load"), {"IMAGES": "images"}),
    "models": Contract("sparrow.networks.params:Architecture", ("check", "build"), {"BATCH_NORM": "batch_norm"}),
    "objectives": Contract("sparrow.training.objective_params:Objective", ("prepare",), {"FLOAT32_ONLY": "float32_only"}),
    "methods": Contract("sparrow.pruning.params:Method", ("prepare",), {}),
    "attacks": Contract(
        "sparrow.adversary.params:Attack",
        ("attack",),
        {"NORMS": "norms", "MINIMUM_NORM": "minimum_norm", "CLASSES_NEEDED": "classes_needed", "BLIND": "blind"},
    ),
    "verifiers": Contract(
        "sparrow.verification.params:Verifier",
        ("bound|decide|certify",),
        {"NORMS": "norms", "SMOOTHED": "smoothed", "ONE_BY_ONE": "one_by_one"},
    ),
    "analyses": Contract("sparrow.settings:Analysis", ("analyse",), {}),
}


@cache
def base(room: Room) -> type[Settings]:
    """The class that the `Params` of the entries of `room` derive from."""
    module, _, name = CONTRACTS[room].params.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def flags(room: Room) -> dict[str, TypeAdapter]:
    """What an entry of `room` declares about itself on its `Params`, by name, and what reads its type.

    A flag is a class variable of `base(room)` or, if it may depend on the parameters, a property.
    """
    own = base(room)
    found = {name: get_args(get_type_hints(own)[name])[0] for name in sorted(own.__class_vars__ - Settings.__class_vars__)}
    properties = {name: value for name, value in vars(own).items() if isinstance(value, property) and name[0] != "_"}
    found |= {name: get_type_hints(value.fget)["return"] for name, value in properties.items()}
    return {name: TypeAdapter(annotation) for name, annotation in found.items()}


def require_contract(room: Room, kind: str) -> None:
    """Raise ConfigError in one line, naming the file, if an entry does not define what its room asks for."""
    entry, contract = _loaded(room, kind), CONTRACTS[room]
    asks = f"{catalogue.PACKAGES[room]} says what a file there defines"
    names = ("Params", *contract.functions)
    missing = [name for name in names if not any(hasattr(entry, one) for one in name.split("|"))]
    if missing:
        raise ConfigError(f"{entry.__file__}: has no {', '.join(missing)}; {asks}")
    for old, new in contract.moved.items():
        if hasattr(entry, old):
            raise ConfigError(
                f"{entry.__file__}: {old} = {getattr(entry, old)!r} is no constant of the file any more; valid: "
                f"`{new} = {getattr(entry, old)!r}` in the class Params"
            )
    if not (isinstance(entry.Params, type) and issubclass(entry.Params, base(room))):
        raise ConfigError(f"{entry.__file__}: Params do not derive from {contract.params.replace(':', '.')}; {asks}")
    if room == "analyses":
        require_names(entry)
    for name, adapter in flags(room).items():
        _require_flag(entry, name, adapter)
    if room == "methods":
        _require_steps(entry)
    if room == "analyses":
        require_tables(entry)
    if room == "verifiers" and vars(entry)["Params"].smoothed != hasattr(entry, "certify"):
        raise ConfigError(f"{entry.__file__}: a file defines `certify` if Params.smoothed is True, and only then; {asks}")
    try:
        entry.Params.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise ConfigError(
            f"{entry.__file__}: Params: {error.name} is not defined; valid: types that the file imports"
        ) from None


def _loaded(room: Room, kind: str) -> ModuleType:
    """The module of an entry. Raises ConfigError in one line, naming file and line, for whatever importing it raises."""
    try:
        return catalogue.load(room, kind)
    except ConfigError:
        raise
    except Exception as error:
        file = f"{Path(importlib.import_module(catalogue.PACKAGES[room]).__path__[0], kind.replace('-', '_'))}.py"
        if isinstance(error, SyntaxError):
            file, line, said = error.filename or file, error.lineno, error.msg
        else:
            # Of what was under way, the innermost step that is in the file itself.
            steps = [step.lineno for step in traceback.extract_tb(error.__traceback__) if step.filename == file]
            line, said = (steps or [None])[-1], (str(error).strip().splitlines() or [""])[0]
        where = file if line is None else f"{file}: line {line}"
        raise ConfigError(f"{where}: cannot be imported: {type(error).__name__}: {said}") from None


def _require_flag(entry: ModuleType, name: str, adapter: TypeAdapter) -> None:
    if name in entry.Params.model_fields:
        raise ConfigError(f"{entry.__file__}: Params.{name} would be a setting of the study; valid: `{name}: ClassVar = ...`")
    value = getattr(entry.Params, name, None)
    if isinstance(value, property):
        return
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        said = f"is {value!r}" if hasattr(entry.Params, name) else "is missing"
        valid = error.errors()[0]["msg"].replace("Input should be", "valid:")
        raise ConfigError(f"{entry.__file__}: Params.{name} {said}; {valid}") from None


def _require_steps(entry: ModuleType) -> None:
    """What a method trains, and for how many steps, goes with what it needs."""
    method, params = base("methods"), entry.Params
    if isinstance(params.needs, property):
        own = params.__mro__[: params.__mro__.index(method)]
        if params.needs is vars(method)["needs"] and any("trains" in vars(one) for one in own):
            raise ConfigError(
                f"{entry.__file__}: Params.trains is {params.trains!r}, and Params.needs does not say what for; valid: "
                '`needs: ClassVar[Needs] = "schedule"`, or for a few batches Params from sparrow.pruning.params.Batches'
            )
    elif params.needs == "batches" and params.steps_of is vars(method)["steps_of"]:
        raise ConfigError(
            f"{entry.__file__}: Params.needs is 'batches', and nothing says how many; valid: Params from "
            "sparrow.pruning.params.Batches, or a `steps_of` of its own"
        )
