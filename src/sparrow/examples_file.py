"""Adversarial examples on disk: for each image that an attack broke, the nearest that it found."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparrow.atomic_file import replacing
from sparrow.errors import SparrowError

FORMAT = "sparrow-examples/1"


def write(path: Path, indices: Tensor, images: Tensor) -> None:
    """Store images (n, c, h, w) by their index in the data set (n,)."""
    order = indices.argsort()
    tensors = {"indices": indices[order].cpu().contiguous(), "images": images[order].cpu().contiguous()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"format": FORMAT})


def read(path: Path) -> tuple[Tensor, Tensor]:
    """Indices (n,) and images (n, c, h, w). Raises SparrowError, naming the file, if it is not one of these."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise SparrowError(f"{path}: not a file of adversarial examples written by Sparrow")
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
    return indices, images
