"""Predictions for many images, and the batches in which they are computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def predict(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Predicted classes (n,) of `images` (n, c, h, w), at most `batch_size` at a time."""
    with torch.no_grad():
        return torch.cat([model(batch).argmax(dim=1) for batch in images.split(batch_size)])


def batches(selected: Tensor, size: int) -> list[Tensor]:
    """Indices of the True entries of `selected` (n,), at most `size` at a time; no batch is empty."""
    indices = selected.nonzero().squeeze(1)
    return list(indices.split(size)) if len(indices) else []
