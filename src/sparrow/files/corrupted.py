"""Corrupted test images on disk: of each kind and severity, all images in the order of their data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sparrow.errors import SparrowError
from sparrow.files import content
from sparrow.files.atomic import replacing
from sparrow.files.corruption_kinds import KINDS
from sparrow.files.digests import content_digest
from sparrow.files.headers import CORRUPTED_FORMAT as FORMAT
from sparrow.files.headers import read_header

INDICES = "indices"


def name_of(kind: str, severity: int) -> str:
    """The tensor of a kind at a severity."""
    return f"{kind}/{severity}"


def write(path: Path, images: Mapping[tuple[str, int], np.ndarray], indices: np.ndarray, about: dict[str, Any]) -> None:
    """Write the images (n, c, h, w), uint8, by kind and severity, and their indices (n,); `about` is added to the header."""
    tensors = {name_of(*key): np.ascontiguousarray(values) for key, values in images.items()} | {INDICES: indices}
    digests = {name: content_digest([(name, tensor)]) for name, tensor in sorted(tensors.items())}
    header = {**about, "format": FORMAT, "content": digests}
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def contents(path: Path) -> list[tuple[str, int]]:
    """The kinds and severities in a file, in the order of `KINDS`. Raises CheckpointError, naming it, if it is no such file."""
    found = [name.split("/") for name in read_header(path, FORMAT)["content"] if name != INDICES]
    return sorted(((kind, int(severity)) for kind, severity in found), key=lambda key: (KINDS.index(key[0]), key[1]))


def read(path: Path, name: str) -> np.ndarray:
    """One tensor of a file. Raises SparrowError, naming the file, if it is not there, or was changed after it was written."""
    named = read_header(path, FORMAT)["content"]
    try:
        with safe_open(path, framework="np") as file:
            tensor = file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise SparrowError(f"{path}: not a readable file of corrupted images ({error})") from None
    content.require(path, named[name], content_digest([(name, tensor)]))
    return tensor
