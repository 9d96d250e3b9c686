"""What the file of an entry has to define, and one clear line where it does not. Imports no torch."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, get_args, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.errors import ConfigError
from sparrow.settings import Settings
from sparrow.study.analysis_contract import require_names, require_tables


class Contract(NamedTuple):
    """What the file of an entry has to define."""

    params: str
    """The class that its `Params` derive from, as `module:class`; that class declares the room's flags."""
    functions: dict[str, str]
    """The functions that it defines and what they are given, by place; of names with a bar between them, one."""
    others: dict[str, str]
    """Functions that it may define besides, or that are given something else than those whose place they take, likewise; of
    arguments with a bar between them, the one or the other."""
    moved: dict[str, str]
    """Constants of the file that stood for flags before, by name, and the flags that do now."""


_PRICED = {"passes": "params, classes", "longest": "params", "members": "params"}
"""By which `sparrow cost` knows what an evaluation takes."""

CONTRACTS: dict[Room, Contract] = {
    "datasets": Contract(
        "sparrow.data.split:HeldOut", {"describe": "params", "load": "params"}, {"files": "params"}, {"IMAGES": "images"}
    ),
    "models": Contract(
        "sparrow.networks.params:Architecture",
        {"check": "params, shape", "build": "params, shape, classes"},
        {},
        {"BATCH_NORM": "batch_norm"},
    ),
    "objectives": Contract(
        "sparrow.training.objective_params:Objective",
        {"prepare": "params, threat"},
        {"initialise": "params, model, generator"},
        {"FLOAT32_ONLY": "float32_only"},
    ),
    "methods": Contract("sparrow.pruning.params:Method", {"prepare": "params, ratio, generator"}, {}, {}),
    "attacks": Contract(
        "sparrow.adversary.params:Attack",
        {"attack|transfer": "model, images, labels, params, threat, classes"},
        {
            "search": "model, images, labels, params, threat, classes",
            "transfer": "model, images, labels, params, threat, classes, candidates",
            **_PRICED,
        },
        {"NORMS": "norms", "MINIMUM_NORM": "minimum_norm", "CLASSES_NEEDED": "classes_needed", "BLIND": "blind"},
    ),
    "verifiers": Contract(
        "sparrow.verification.params:Verifier",
        {"bound|decide|certify": "model, images, labels, params, threat, classes"},
        {"certify": "model, images, params, threat, classes, generator, white", **_PRICED},
        {"NORMS": "norms", "SMOOTHED": "smoothed", "ONE_BY_ONE": "one_by_one"},
    ),
    "analyses": Contract(
        "sparrow.settings:Analysis",
        {"analyse": "subject, params"},
        _PRICED | {"passes": "params, classes|params, classes, networks, dense, attacks"},
        {},
    ),
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
    _require_signatures(entry, contract)
    for old, new in contract.moved.items():
        if hasattr(entry, old):
            raise ConfigError(
                f"{entry.__file__}: {old} = {getattr(entry, old)!r} is no constant of the file any more; valid: "
                f"`{new} = {getattr(entry, old)!r}` in the class Params"
            )
    if not (isinstance(entry.Params, type) and issubclass(entry.Params, base(room))):
        bases = contract.params.replace(":", ".")
        if room == "datasets":
            bases = f"sparrow.data.split.SplitParams, nor, with an official test set, from {bases}"
        raise ConfigError(f"{entry.__file__}: Params do not derive from {bases}; {asks}")
    if room == "analyses":
        require_names(entry)
    for name, adapter in flags(room).items():
        _require_flag(entry, name, adapter)
    if room == "methods":
        _require_steps(entry)
    if room == "analyses":
        require_tables(entry)
    if room == "attacks" and vars(entry)["Params"].transfers != hasattr(entry, "transfer"):
        raise ConfigError(f"{entry.__file__}: a file defines `transfer` if Params.transfers is True, and only then; {asks}")
    if room == "verifiers" and vars(entry)["Params"].smoothed != hasattr(entry, "certify"):
        raise ConfigError(f"{entry.__file__}: a file defines `certify` if Params.smoothed is True, and only then; {asks}")
    try:
        entry.Params.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise ConfigError(
            f"{entry.__file__}: Params: {error.name} is not defined; valid: types that the file imports"
        ) from None
    except PydanticSchemaGenerationError as error:
        raise ConfigError(f"{entry.__file__}: Params: {_no_option(error)}") from None
    _require_defaults(entry)


def _require_defaults(entry: ModuleType) -> None:
    """The default of each option is valid itself: pydantic takes it as it is, and a job, which is given it, does not."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in entry.Params.model_fields.items()}
    try:
        entry.Params.model_validate({name: value for name, value in defaults.items() if value is not PydanticUndefined})
    except ValidationError as error:
        for mistake in error.errors():
            # What has no default is not missing, and what options have to be together is the study's to say.
            if mistake["loc"] and mistake["type"] != "missing":
                name = mistake["loc"][0]
                valid = mistake["msg"].replace("Input should be", "valid:").removeprefix("Value error, ")
                raise ConfigError(f"{entry.__file__}: Params.{name} is {defaults[name]!r} by default; {valid}") from None


def _no_option(error: PydanticSchemaGenerationError) -> str:
    """What is wrong with an option's type, from pydantic's many words, whose advice would not help."""
    named = re.search(r"schema for (<class '([^']+)'>|\S+)", str(error))
    kind = (named[2] or named[1]).rstrip(".") if named else "a type"
    return f"no option can be of type {kind}; valid: bool, int, float, str, None, and Literal, list, tuple or dict of such"


def _require_signatures(entry: ModuleType, contract: Contract) -> None:
    """What a job calls, by place and not by name, can be called so."""
    given = {one: arguments for names, arguments in contract.functions.items() for one in names.split("|")} | contract.others
    for name, arguments in given.items():
        if not hasattr(entry, name):
            continue
        function = getattr(entry, name)
        if not callable(function):
            raise ConfigError(f"{entry.__file__}: {name} is {function!r}; valid: a function {name}({arguments})")
        signature, ways = inspect.signature(function), arguments.split("|")
        if not any(_takes(signature, way) for way in ways):
            valid = " or ".join(f"{name}({way})" for way in ways)
            raise ConfigError(f"{entry.__file__}: {name}{_untyped(signature)} cannot be called; valid: {valid}")


def _takes(signature: inspect.Signature, arguments: str) -> bool:
    try:
        signature.bind(*arguments.split(", "))
    except TypeError:
        return False
    return True


def _untyped(signature: inspect.Signature) -> inspect.Signature:
    """The parameters of a function as written, without their types."""
    bare = inspect.Parameter.empty
    return signature.replace(
        parameters=[one.replace(annotation=bare) for one in signature.parameters.values()], return_annotation=bare
    )


def _loaded(room: Room, kind: str) -> ModuleType:
    """The module of an entry. Raises ConfigError in one line, naming file and line, for whatever importing it raises."""
    folders = [Path(folder) for folder in catalogue.package(room).__path__]
    names = f"{kind.replace('-', '_')}.py", f"{kind}.py"
    folder = next((folder for folder in folders if any((folder / name).is_file() for name in names)), folders[0])
    file = f"{folder / names[0]}"
    if "-" in kind and (folder / f"{kind}.py").is_file():
        raise ConfigError(f"{folder / kind}.py: cannot be imported by that name; rename it to {Path(file).name}")
    try:
        with warnings.catch_warnings():
            # A flag that is no class variable is told by `_require_flag`, and better.
            for flag in flags(room):
                warnings.filterwarnings("ignore", f'Field name "{flag}" in ".+" shadows an attribute', UserWarning)
            return catalogue.load(room, kind)
    except ConfigError:
        raise
    except Exception as error:
        if isinstance(error, SyntaxError):
            file, line, said = error.filename or file, error.lineno, error.msg
        elif isinstance(error, PydanticSchemaGenerationError):
            raise ConfigError(f"{file}: Params: {_no_option(error)}") from None
        else:
            # Of what was under way, the innermost step that is in the file itself.
            steps = [step.lineno for step in traceback.extract_tb(error.__traceback__) if step.filename == file]
            line, said = (steps or [None])[-1], (str(error).strip().splitlines() or [""])[0]
        where = file if line is None else f"{file}: line {line}"
        raise ConfigError(f"{where}: cannot be imported: {type(error).__name__}: {said}") from None


_SPELT = {
    "images": "(60000, 10000), with an official test set; (70000, None), without one; None, if it is not known",
    "needs": '() or ("threat",)',
    "requires": '() or ("dense",)',
    "reads": '() or ("corruptions",)',
    "norms": '("linf",), ("l2",) or ("linf", "l2")',
    "tables": 'such as {"curve": ("bin", "share"), "total": ("share",)}, the columns of each table',
}
"""How flags are written that consist of several values, by name."""


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
        mistake = error.errors()[0]
        spelt = _SPELT.get(name) if mistake["type"] in ("tuple_type", "dict_type") else None
        valid = f"valid: {spelt}" if spelt else mistake["msg"].replace("Input should be", "valid:")
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
