"""A data set on disk: one safetensors file, written once, with the digest of its content in the header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from sparrow.atomic_file import replacing
from sparrow.data._digest import content_digest
from sparrow.errors import SparrowError

FORMAT = "sparrow-data/1"


@dataclass(frozen=True)
class Part:
    """Images (n, channels, height, width), float32 in [0, 1]; labels (n,), int64; their indices in the source (n,)."""

    images: Tensor
    labels: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, samples: int | None) -> Part:
        """The first `samples` of them, or all."""
        return Part(self.images[:samples], self.labels[:samples], self.indices[:samples])

    def to(self, device: torch.device) -> Part:
        return Part(self.images.to(device), self.labels.to(device), self.indices)


@dataclass(frozen=True)
class Header:
    """What is known of a data set without reading it: its digest, image shape and number of classes."""

    digest: str
    shape: tuple[int, int, int]
    classes: int
    white: int


def write(
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    parts: dict[str, np.ndarray],
    white: int,
    classes: int,
    origin: dict[str, Any] | None = None,
) -> None:
    """Store images (n, c, h, w) uint8 and labels (n,), divided into `parts` (indices).

    `origin` says in the header where they come from. It is no part of the digest: the same images are the same data set.
    """
    tensors = {}
    for name, indices in parts.items():
        tensors[f"{name}/images"] = np.ascontiguousarray(images[indices])
        tensors[f"{name}/labels"] = labels[indices]
        tensors[f"{name}/indices"] = indices.astype(np.int64)
    header = {
        "format": FORMAT,
        "digest": content_digest((name, tensors[name]) for name in sorted(tensors)),
        "shape": list(images.shape[1:]),
        "classes": classes,
        "white": white,
        "parts": {name: len(indices) for name, indices in parts.items()},
        **(origin or {}),
    }
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def read(path: Path, part: str) -> tuple[Part, Header]:
    """One part of a stored data set. Raises SparrowError, naming the file, if it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            raw = json.loads((file.metadata() or {}).get("sparrow", "{}"))
            if raw.get("format") != FORMAT:
                raise SparrowError(f"{path}: not a data set written by Sparrow")
            images = file.get_tensor(f"{part}/images").to(torch.float32) / raw["white"]
            labels, indices = file.get_tensor(f"{part}/labels"), file.get_tensor(f"{part}/indices")
    except (SafetensorError, OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable data set ({error})") from None
    header = Header(raw["digest"], tuple(raw["shape"]), raw["classes"], raw["white"])
    return Part(images, labels, indices), header
