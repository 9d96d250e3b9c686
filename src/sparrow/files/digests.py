"""What makes two data sets, or the tensors of two files, the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from sparrow.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor


def content_digest(tensors: Iterable[tuple[str, np.ndarray | Tensor]]) -> str:
    """SHA-256 of the names, types, shapes and values of `tensors` (numpy's or torch's), which come sorted by name.

    `content.of_file` gives the same for the file that they were saved to.
    """
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}\n".encode())
        digest.update(_values(tensor))
    return digest.hexdigest()


def _values(tensor: np.ndarray | Tensor) -> np.ndarray:
    """The values in their order in memory. No copy of what may be gigabytes."""
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1)
    # As bytes: numpy does not know all of torch's types.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
