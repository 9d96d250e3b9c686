"""Which kinds of corruptions fit a data set's images. Imports nothing that takes time."""

from __future__ import annotations

from sparrow.data.corruptions.params import Corruptions
from sparrow.files.corruption_kinds import KINDS

SIZELESS = ("gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast")
"""Kinds that mean the same whatever the size of an image."""
SIZES = range(28, 33)
"""Pixels on a side for which the constants of all kinds are; those for larger images are others."""
FROST = "frost"
"""The kind that needs photographs of ice, which an archive alone has seen."""


def chosen(params: Corruptions, shape: tuple[int, int, int]) -> list[str]:
    """The kinds for images of a `shape` (channels, height, width), in the order of `KINDS`."""
    wanted = fitting(params, shape) if params.kinds is None else params.kinds
    return [kind for kind in KINDS if kind in wanted]


def fitting(params: Corruptions, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """The kinds that there can be of images of that shape."""
    if params.file is not None:
        return KINDS
    channels, height, width = shape
    if height == width and height in SIZES and channels in (1, 3):
        return tuple(kind for kind in KINDS if kind != FROST)
    return SIZELESS


def misfit(params: Corruptions, shape: tuple[int, int, int]) -> str | None:
    """Why a kind that was asked for cannot be had, in words, and which can; None if all can."""
    valid = fitting(params, shape)
    others = [kind for kind in params.kinds or () if kind not in valid]
    if not others:
        return None
    channels, height, width = shape
    sizes = f"{SIZES[0]} to {SIZES[-1]}"
    why = f"it is for square images of {sizes} pixels, 1 or 3 channels, and these have {height} x {width}, {channels}"
    if others[0] == FROST:
        why = "it needs photographs, and is in the published archive (`file`) alone"
    return f"{others[0]}: {why}; valid: {', '.join(valid)}"
