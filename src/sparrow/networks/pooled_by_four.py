"""Adaptive average pooling to 2 x 2 in operations that bounds know."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PooledByFour(nn.AdaptiveAvgPool2d):
    """torch's own, for maps of `height` x `width`; where the network is traced, as auto_LiRPA does, the same as four
    averages, one of each quarter.

    Quarters of maps with odd sides overlap. (torch_pruning, which does not trace, would not follow channels through the four.)
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
        (height, width), size = self._sides, tuple((side + 1) // 2 for side in self._sides)
        images = images[:, :, : size[0]] if top else images[:, :, height - size[0] :]
        images = images[:, :, :, : size[1]] if left else images[:, :, :, width - size[1] :]
        return functional.avg_pool2d(images, size)
