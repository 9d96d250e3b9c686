"""The digest by which data sets, and the tensors of files, are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from sparrow.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor


def content_digest(tensors: Iterable[tuple[str, np.ndarray | Tensor]]) -> str:
    """SHA-256 of the names, types, shapes and values of `tensors` (numpy's or torch's), which must be sorted by name.

    Equals `content.of_file` of the file that they were saved to.
    """
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}\n".encode())
        digest.update(_values(tensor))
    return digest.hexdigest()


def _values(tensor: np.ndarray | Tensor) -> memoryview:
    """The tensor's values in row-major order, as bytes; not copied unless they have to be, since there may be gigabytes."""
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).data
    # As bytes: numpy does not know all of torch's types.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
