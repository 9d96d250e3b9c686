"""A small MobileNet: inverted residuals of depthwise separable convolutions, batch norms, ReLU6, Hardswish and dropout.

Source: an example in the manner of M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture


class Params(Architecture):
    """How wide it is."""

    batch_norm: ClassVar[bool] = True
    graftable: ClassVar[bool] = False
    width: int = Field(8, ge=2)
    """Maps between the blocks, which are twice as wide inside."""


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` (channels, height, width) are too small."""
    if min(shape[1:]) < 4:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small; valid: 4 x 4 or more")


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, from images in [0, 1] to logits."""
    nn, width = torch.nn, params.width

    class Inverted(nn.Module):
        def __init__(self, maps: int, stride: int, act: type[torch.nn.Module]) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                *(nn.Conv2d(width, maps, 1, bias=False), nn.BatchNorm2d(maps), act()),
                *(nn.Conv2d(maps, maps, 3, stride, 1, groups=maps, bias=False), nn.BatchNorm2d(maps), act()),
                *(nn.Conv2d(maps, width, 1, bias=False), nn.BatchNorm2d(width)),
            )
            self.adds = stride == 1

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return maps + self.layers(maps) if self.adds else self.layers(maps)

    return nn.Sequential(
        *(nn.Conv2d(shape[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()),
        Inverted(2 * width, 2, nn.ReLU6),
        Inverted(2 * width, 1, nn.Hardswish),
        *(nn.Conv2d(width, 2 * width, 1, bias=False), nn.BatchNorm2d(2 * width), nn.Hardswish()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(2 * width, classes)),
    )
