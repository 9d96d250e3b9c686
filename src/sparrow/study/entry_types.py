"""Sections of the config that hold entries of a room: pydantic types put together from what the room's files declare."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BeforeValidator, Field, create_model

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.errors import ConfigError
from sparrow.settings import Settings
from sparrow.study.contracts import require_contract
from sparrow.study.mistakes import LABEL

# A model made at run time has its descriptions from others: pydantic would search every frame for a source that is nowhere.
DESCRIBED = {"use_attribute_docstrings": False}


def _fill_kinds(section: Any) -> Any:
    """`section` with the label as the kind where an entry names none: `hydra:` alone means `hydra: {kind: hydra}`."""
    if not isinstance(section, dict):
        return section
    filled = {}
    for label, entry in section.items():
        entry = {} if entry is None else entry
        filled[label] = {"kind": label, **entry} if isinstance(entry, dict) else entry
    return filled


def require_entries() -> None:
    """Raise ConfigError, with a line for each file of any room that is no entry."""
    mistakes = []
    for room in catalogue.PACKAGES:
        for kind in catalogue.kinds(room):
            try:
                require_contract(room, kind)
            except ConfigError as error:
                mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def entries(room: Room, options: type[Settings] | None = None) -> Any:
    """Type of a section: label to the parameters of one entry of `room` and `options`, told apart by `kind`."""
    variants = []
    for kind in catalogue.kinds(room):
        params = catalogue.load(room, kind).Params
        fields: dict[str, Any] = {"kind": (Literal[kind], Field(kind, description=f"The label, if it is not `{kind}`."))}
        if options is not None:
            fields |= {name: (field.annotation, field) for name, field in options.model_fields.items()}
        what = "Analysis" if room == "analyses" else room.title().removesuffix("s")
        name = "".join(part.title() for part in kind.split("-")) + what
        variant = create_model(name, __base__=params, __cls_kwargs__=DESCRIBED, **fields)
        variant.__doc__ = catalogue.summary(room, kind)
        variants.append(variant)
    # Types that are made at run time are values to a type checker, so they are put together as such.
    annotated: Any = Annotated
    label = Annotated[str, Field(pattern=LABEL)]
    entry = annotated[Union.__getitem__(tuple(variants)), Field(discriminator="kind")]
    return annotated[GenericAlias(dict, (label, entry)), BeforeValidator(_fill_kinds)]


def optional(model: type[Settings], name: str, without: Collection[str] = ()) -> type[Settings]:
    """A patch of `model`: the same fields but for `without`, each of them optional and unset by default."""
    optional_of: Any = Optional
    fields: dict[str, Any] = {
        key: (optional_of[field.annotation], Field(None, description=field.description))
        for key, field in model.model_fields.items()
        if key not in without
    }
    patch = create_model(name, __base__=Settings, __cls_kwargs__=DESCRIBED, **fields)
    patch.__doc__ = f"What to change in {model.__name__}."
    return patch


def own_entries(folder: str) -> str:
    """`folder` unchanged, once it is known to hold entries of one's own. Raises ValueError, in one line, if it does not."""
    rooms = ", ".join(catalogue.PACKAGES)
    if not Path(folder).is_dir():
        raise ValueError(f"{folder!r} is not valid: no such folder; it must hold folders of entries, such as methods")
    inside = sorted(path.name for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    for name in inside:
        if name not in catalogue.PACKAGES:
            raise ValueError(f"{folder!r} is not valid: {name} is no folder of entries; valid: {rooms}")
    if not inside:
        raise ValueError(f"{folder!r} is not valid: holds no folder of entries; valid: {rooms}")
    for room, package in catalogue.PACKAGES.items():
        shipped = Path(__file__).parents[1] / package.rpartition(".")[2]
        for path in sorted(Path(folder, room).glob("*.py")):
            if (shipped / path.name).is_file():
                raise ValueError(f"{folder!r} is not valid: {room}/{path.name} is called as an entry of Sparrow is; rename it")
    return folder
