"""Random crops and flips of training images, for a whole batch at once, on its device.

Source: the usual augmentation of CIFAR, K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sec. 4.2.
"""

from __future__ import annotations

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Settings


class Augmentation(Settings):
    """Random changes to training images, drawn anew each time that an image is used."""

    crop: int = Field(0, ge=0)
    """Pad by this many black pixels on each side and cut an image of the old size out anywhere; no cropping if 0."""
    flip: bool = False
    """Mirror every second image, drawn at random, from left to right."""


NONE = Augmentation()
CIFAR = Augmentation(crop=4, flip=True)


def augmented(images: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Images (n, c, h, w) of any type, each cropped and flipped at random, by the generator of their device."""
    if how.crop:
        images = _cropped(images, how.crop)
    if how.flip:
        mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    return images


def _cropped(images: torch.Tensor, by: int) -> torch.Tensor:
    count, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (by, by, by, by))
    top, left = torch.randint(0, 2 * by + 1, (2, count, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    each = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    every = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return padded[each, every, rows.view(count, 1, height, 1), columns.view(count, 1, 1, width)]
