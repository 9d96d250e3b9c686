"""State dicts (names and tensors) as third parties write and read them. No pickle is unpickled."""

from __future__ import annotations

import json
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparrow.errors import CheckpointError
from sparrow.exchange.normalisation import Normalisation, stated_beside, unclear_statements
from sparrow.exchange.printable import listed, printable
from sparrow.files.atomic import replacing

SAFETENSORS = ".safetensors"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""Terminal codes for bold text, which torch's messages contain."""
KEYS = ("state_dict", "model_state_dict", "net", "model", "weights")
"""Keys of a file under which the state dict is sought, in this order."""


class StateDict(NamedTuple):
    """The tensors of a state dict by name; their place in the file, in words (empty: at its top); and the normalisation of
    images that the file states beside it, if any."""

    tensors: dict[str, Tensor]
    place: str
    normalised: Normalisation | None
    unread: list[str]
    """A line for each other statement on a normalisation, whose meaning is unclear."""


def read(path: Path, key: str | None = None) -> StateDict:
    """The state dict in a file.

    A `.safetensors` file is read as such, any other one through `torch.load(weights_only=True)`. `key` names the part of the
    file that is the state dict, if none of `KEYS` does; `a.b` is the part `b` of the part `a`, `a.0` the first of a list.
    Raises CheckpointError, naming the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    content = whole = _safetensors(path) if path.suffix == SAFETENSORS else _pickled(path)
    if key is None:
        key = _usual_key(path, content)
    if key is not None:
        content = _part(content, key)
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{path}: has no state dict under the key {printable(key)!r}; it holds {_parts(whole)}")
    if not isinstance(content, Mapping) or not content:
        choice = f"; give its key; the file holds {_parts(whole)}" if isinstance(content, list | tuple) and content else ""
        raise CheckpointError(f"{path}: holds no state dict, but {_named(content)}{choice}")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            choice = f"; give its key; the file holds {_parts(whole)}" if content is whole else ""
            raise CheckpointError(f"{path}: not a state dict: {printable(name)} is a {type(value).__name__}, no tensor{choice}")
        if not str(name).isprintable():
            raise CheckpointError(f"{path}: not a state dict: a tensor's name has codes that are no text: {printable(name)}")
    tensors = {str(name): tensor for name, tensor in content.items()}
    normalised, place = None if content is whole else stated_beside(whole), f"its key {printable(key)!r}" if key else ""
    return StateDict(tensors, place, normalised, [] if content is whole or normalised else unclear_statements(whole))


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a state dict as safetensors, with `about` as JSON under the metadata's one key, `about`."""
    with replacing(path) as partial:
        save_file(_copies(tensors), partial, {"about": json.dumps(about, sort_keys=True)})


def write_pth(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a state dict by torch.save, under the key `state_dict`, which most loaders expect."""
    with replacing(path) as partial:
        torch.save({"state_dict": _copies(tensors)}, partial)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies: tensors that share memory are refused by one format and saved together by the other.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _usual_key(path: Path, content: Any) -> str | None:
    """The key of the state dict, one of `KEYS`, or such as `net.0` in a list of one; None if the file is the state dict."""
    for key in KEYS:
        found = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(found, Mapping):
            return key
        if isinstance(found, list | tuple) and found and all(isinstance(one, Mapping) for one in found):
            if len(found) == 1:
                return f"{key}.0"
            choice = ", ".join(f"{key}.{place}" for place in range(len(found)))
            raise CheckpointError(f"{path}: {key} is a list of {len(found)} state dicts; give the key of one: {choice}")
    return None


def _named(content: Any) -> str:
    if isinstance(content, Mapping):
        return "an empty dict"
    return f"a list of {len(content)}" if isinstance(content, list | tuple) else f"a {type(content).__name__}"


def _part(content: Any, key: str) -> Any:
    """The value under `key` (`a.b.0`) in nested mappings and lists; None if there is none."""
    if isinstance(content, Mapping) and key in content:
        return content[key]
    for first, _, rest in ((key[:dot], ".", key[dot + 1 :]) for dot in range(len(key)) if key[dot] == "."):
        if (found := _part(_item(content, first), rest)) is not None:
            return found
    return _item(content, key)


def _item(content: Any, key: str) -> Any:
    if isinstance(content, Mapping):
        return content.get(key)
    place = int(key) if key.isdecimal() and len(key) < 10 else -1
    return content[place] if isinstance(content, list | tuple) and 0 <= place < len(content) else None


def _parts(content: Any) -> str:
    """Valid values of `key`, in words: the keys of a file, and which of them are lists."""
    if isinstance(content, list | tuple):
        return f"a list of {len(content)}, whose places are 0 to {len(content) - 1}" if content else "an empty list"
    if not isinstance(content, Mapping):
        return type(content).__name__
    lists = {key: len(value) for key, value in content.items() if isinstance(value, list | tuple) and value}
    return listed(f"{key} (a list: {key}.0 ...)" if key in lists else key for key in content)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            if "sparrow" in (file.metadata() or {}):
                raise CheckpointError(f"{path}: one of Sparrow's own files; export a state dict of it (`sparrow export`)")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({printable(error)})") from None


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch warns of a damaged file before it raises.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged or foreign file may raise anything.
        reason = printable(_reason(error))
        raise CheckpointError(
            f"{path}: cannot be read as tensors and plain values alone, and nothing else is ever unpickled ({reason}); have "
            "its state dict saved by itself, best as safetensors"
        ) from None


def _reason(error: Exception) -> str:
    """The reason in torch's message, without its advice."""
    said = STYLE.sub("", str(error))
    if "TorchScript" in said:
        return "a TorchScript archive, which holds code"
    if isinstance(error, KeyError | IndexError | struct.error):
        # The unpickler met a byte that is not part of a pickle.
        return "not a file of torch.save's, or a damaged one"
    said = said.rpartition("WeightsUnpickler error:")[2]
    return said.strip().split("\n")[0].split(". Please")[0] or type(error).__name__
