"""Files of adversarial examples: for each image that an attack broke, the nearest example that it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.files import content
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import EXAMPLES_FORMAT as FORMAT
from sparrow.files.headers import read_header


def write(path: Path, indices: Tensor, images: Tensor, origin: dict[str, Any] | None = None) -> None:
    """Write images (n, c, h, w) and their indices in the data set (n,), sorted by these; `origin` is added to the header."""
    order = indices.argsort()
    tensors = {"indices": indices[order].cpu().contiguous(), "images": images[order].cpu().contiguous()}
    header = {**(origin or {}), "format": FORMAT, "content": content_digest(sorted(tensors.items()))}
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def read(path: Path) -> tuple[Tensor, Tensor]:
    """Indices (n,), int64, and images (n, c, h, w), floats. Raises SparrowError, naming the file, if it is not valid."""
    header = read_header(path, FORMAT)
    try:
        with safe_open(path, framework="pt") as file:
            indices, images = file.get_tensor("indices"), file.get_tensor("images")
    except (SafetensorError, OSError) as error:
        raise SparrowError(f"{path}: not a readable file of adversarial examples ({error})") from None
    if (
        indices.dim() != 1
        or not images.dim()
        or len(indices) != len(images)
        or indices.dtype != torch.int64
        or not torch.is_floating_point(images)
    ):
        raise SparrowError(f"{path}: damaged: indices {tuple(indices.shape)} for images {tuple(images.shape)}")
    content.require(path, header["content"], content_digest([("images", images), ("indices", indices)]))
    return indices, images
