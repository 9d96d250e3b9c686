"""Adaptive average pooling to 2 x 2, made of operations that auto_LiRPA can bound."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PooledByFour(nn.AdaptiveAvgPool2d):
    """Averages (n, c, 2, 2) of the quarters of maps of `height` x `width`; quarters of maps with odd sides overlap.

    Computed by torch's own adaptive pooling, but as four averages while the network is traced, as auto_LiRPA does.
    (torch_pruning, which does not trace, could not follow channels through the four.)
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__(2)
        self._sides = height, width

    def forward(self, images: Tensor) -> Tensor:
        if not torch.jit.is_tracing():
            return super().forward(images)
        rows = [torch.cat([self._mean(images, top, left) for left in (True, False)], 3) for top in (True, False)]
        return torch.cat(rows, 2)

    def _mean(self, images: Tensor, top: bool, left: bool) -> Tensor:
        """The average (n, c, 1, 1) of one quarter."""
        (height, width), (rows, columns) = self._sides, ((side + 1) // 2 for side in self._sides)
        images = images[:, :, :rows] if top else images[:, :, height - rows :]
        images = images[:, :, :, :columns] if left else images[:, :, :, width - columns :]
        return functional.avg_pool2d(images, (rows, columns))
