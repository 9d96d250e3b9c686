"""The result of an attack of several parts: adversarial images, and which part found each."""

from __future__ import annotations

from typing import NamedTuple

from sparrow.lazy_torch import torch


class AttackResult(NamedTuple):
    """The result of `search` in an attack's file, for n images."""

    images: torch.Tensor
    """Adversarial images (n, c, h, w); the point of smallest margin where none was found."""
    found_by: list[str]
    """Name of the part that found each adversarial image; an empty string where none did."""
    zero_gradient: torch.Tensor
    """Whether (n,) the gradient at the start was exactly 0 for every loss that was ascended."""
