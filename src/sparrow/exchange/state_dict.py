"""State dicts as third parties write and read them: names and tensors alone. No pickle is unpickled."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparrow.atomic_file import replacing
from sparrow.errors import CheckpointError

SAFETENSORS = ".safetensors"
KEYS = ("state_dict", "model_state_dict", "net", "model", "weights")
"""Under which of a file's keys the state dict is looked for, in this order."""


def read(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a state dict by name, and in words where in the file they lie (empty: at its top).

    A `.safetensors` file is read as such, any other one through `torch.load(weights_only=True)`. `key` names the part of the
    file that is the state dict, if none of `KEYS` does. Raises CheckpointError, naming the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    content = _safetensors(path) if path.suffix == SAFETENSORS else _pickled(path)
    if key is None:
        key = next((one for one in KEYS if _mapping(content, one)), None)
    if key is not None:
        if not _mapping(content, key):
            found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
            raise CheckpointError(f"{path}: has no state dict under the key {key!r}; it holds {found}")
        content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no state dict, but a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            choice = f"; give its key; the file holds {', '.join(map(str, content))}" if key is None else ""
            raise CheckpointError(f"{path}: not a state dict: {name} is a {type(value).__name__}, no tensor{choice}")
    return {str(name): tensor for name, tensor in content.items()}, f"its key {key!r}" if key else ""


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """A state dict in safetensors; `about` becomes its one key of metadata, `about`, as JSON."""
    with replacing(path) as partial:
        save_file(_plain(tensors), partial, {"about": json.dumps(about, sort_keys=True)})


def write_pth(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A state dict by torch.save, under the key `state_dict`, where most loaders look for it."""
    with replacing(path) as partial:
        torch.save({"state_dict": _plain(tensors)}, partial)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies: tensors that share memory are refused by one format and saved together by the other.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _mapping(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            if "sparrow" in (file.metadata() or {}):
                raise CheckpointError(f"{path}: one of Sparrow's own files; export a state dict of it (`sparrow export`)")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({error})") from None


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of a damaged file torch warns before it gives up.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # What a damaged or foreign file sets off is anybody's guess.
        reason = str(error).strip().split("\n")[0].split(" (1)")[0] or type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as tensors and plain values alone, and nothing else is ever unpickled ({reason}); have "
            "its state dict saved by itself, best as safetensors"
        ) from None
