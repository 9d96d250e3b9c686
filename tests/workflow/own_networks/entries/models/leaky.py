"""A plain network: convolutions, one of them grouped, group norms, LeakyReLU and an overlapping pooling.

Source: an example, not a paper.
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
    """Maps of its first layer."""


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` (channels, height, width) are too small."""
    if min(shape[1:]) < 4:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small; valid: 4 x 4 or more")


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, from images in [0, 1] to logits."""
    nn, width = torch.nn, params.width
    return nn.Sequential(
        *(nn.Conv2d(shape[0], width, 3, 1, 1), nn.GroupNorm(4, width), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2, 1)),
        *(nn.Conv2d(width, 2 * width, 3, 1, 1, groups=4), nn.LeakyReLU(0.1)),
        *(nn.Conv2d(2 * width, 2 * width, 3, 2, 1), nn.LeakyReLU(0.1)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, 2 * width), nn.LeakyReLU(0.1), nn.Dropout(0.2)),
        nn.Linear(2 * width, classes),
    )
