"""What an attack of several parts says besides the images that it returns."""

from __future__ import annotations

from typing import NamedTuple

from sparrow.lazy_torch import torch


class Found(NamedTuple):
    """What `search` of an attack's file returns."""

    images: torch.Tensor
    """Adversarial images (n, c, h, w); the one of smallest margin where none succeeds."""
    by: list[str]
    """The part that broke each image; empty where none did."""
    zero_gradient: torch.Tensor
    """Where (n,) the gradient was exactly 0 where it started, of every loss that it took."""
