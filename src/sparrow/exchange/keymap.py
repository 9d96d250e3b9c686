"""Key maps: third parties' names of the tensors of our networks. Imports no torch."""

from __future__ import annotations

import yaml
from pydantic import Field, ValidationError

from sparrow.errors import SparrowError
from sparrow.exchange.keymap_files import OURS, is_file, names, path_of
from sparrow.exchange.printable import listed, printable
from sparrow.files.strict_yaml import refuse_duplicates
from sparrow.settings import Settings


class KeyMap(Settings):
    """A third party's names of the tensors of our models."""

    about: str = ""
    """The owner of the names."""
    source: str = ""
    """Where the names were found."""
    models: dict[str, dict[str, str]] = Field(min_length=1)
    """For each of our models that it covers: their name to ours, of a tensor or of a module with all below it. Whatever is
    not in it has the same name on both sides."""
    unused: dict[str, list[str]] = Field({})
    """Their modules, by our model, that have no counterpart here, since nothing that they compute is used."""
    note: str = ""
    """Something else that their networks expect; printed at every import."""

    def to_ours(self, model: str, name: str) -> str:
        """Our name of their tensor `name`."""
        return _renamed(name, self.models[model])

    def to_theirs(self, model: str, name: str) -> str:
        """Their name of our tensor `name`."""
        return _renamed(name, {ours: theirs for theirs, ours in self.models[model].items()})

    def is_unused(self, model: str, name: str) -> bool:
        """Whether their tensor `name` belongs to a module in `unused`."""
        return any(_begins(name, module) for module in self.unused.get(model, ()))


def load(name: str) -> KeyMap | None:
    """The map `name`: one of `names`, or a YAML file; None for our own names. Raises SparrowError, in one line."""
    if name == OURS:
        return None
    if name not in names() and not is_file(name):
        raise SparrowError(f"key map {name!r} is not known; valid: {', '.join(names())}, or a YAML file")
    path = path_of(name)
    try:
        refuse_duplicates(path)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = KeyMap.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else printable(" ".join(str(error).split()))
        raise SparrowError(f"{path}: not a key map: {reason}") from None
    except ValidationError as error:
        mistake = error.errors()[0]
        key = printable(".".join(map(str, mistake["loc"]))) or "map"
        valid = ", ".join(KeyMap.model_fields)
        raise SparrowError(f"{path}: {key}: {mistake['input']!r} is not valid: {mistake['msg']}; valid keys: {valid}") from None
    for model, ours_of in found.models.items():
        if len(set(ours_of.values())) < len(ours_of):
            raise SparrowError(f"{path}: models.{printable(model)}: two of their names stand for one of ours")
    return found


def require_model(keymap: KeyMap, name: str, model: str) -> None:
    """Raise SparrowError if the map `name` does not cover `model`."""
    if model not in keymap.models:
        raise SparrowError(f"key map {name}: does not say what a {model} is called there; valid: {listed(keymap.models)}")


def _renamed(name: str, names: dict[str, str]) -> str:
    found = max((old for old in names if _begins(name, old)), key=len, default=None)
    return name if found is None else names[found] + name[len(found) :]


def _begins(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")
