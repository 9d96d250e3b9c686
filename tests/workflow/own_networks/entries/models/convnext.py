"""A small ConvNeXt: patches, blocks of depthwise and grouped convolutions, layer norms over channels, GELU and dropout.

Source: an example in the manner of Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture


class Params(Architecture):
    """How wide it is."""

    graftable: ClassVar[bool] = False
    width: int = Field(8, ge=4, multiple_of=4)
    """Maps between the blocks, which are four times as wide inside."""


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` (channels, height, width) cannot be divided into patches."""
    if shape[1] % 2 or shape[2] % 2:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are no patches of 2 x 2; valid: even heights and widths")


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, from images in [0, 1] to logits."""
    nn, width = torch.nn, params.width

    class ChannelNorm(nn.LayerNorm):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Block(nn.Module):
        def __init__(self, groups: int) -> None:
            super().__init__()
            self.mixing = nn.Conv2d(width, width, 3, 1, 1, groups=groups)
            self.norm = nn.LayerNorm(width)
            self.inside = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            self.scale = nn.Parameter(torch.full((width,), 0.1))
            self.dropout = nn.Dropout(0.1)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            inside = self.scale * self.inside(self.norm(self.mixing(maps).permute(0, 2, 3, 1)))
            return maps + self.dropout(inside.permute(0, 3, 1, 2))

    return nn.Sequential(
        *(nn.Conv2d(shape[0], width, 2, 2), ChannelNorm(width)),
        *(Block(width), Block(4)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, classes)),
    )
