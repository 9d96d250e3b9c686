"""Adaptive average pooling to 2 x 2 in operations that bounds know."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PooledByFour(nn.AdaptiveAvgPool2d):
    """torch's own; where the network is traced, as auto_LiRPA does, the same as four averages, one of each quarter.

    Quarters of maps with odd sides overlap. (torch_pruning, which does not trace, would not follow channels through the four.)
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, images: Tensor) -> Tensor:
        if not torch.jit.is_tracing():
            return super().forward(images)
        rows = [torch.cat([_mean(images, top, left) for left in (True, False)], 3) for top in (True, False)]
        return torch.cat(rows, 2)


def _mean(images: Tensor, top: bool, left: bool) -> Tensor:
    height, width = int(images.shape[2]), int(images.shape[3])
    size = ((height + 1) // 2, (width + 1) // 2)
    images = images[:, :, : size[0]] if top else images[:, :, height - size[0] :]
    images = images[:, :, :, : size[1]] if left else images[:, :, :, width - size[1] :]
    return functional.avg_pool2d(images, size)
