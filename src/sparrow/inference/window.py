"""Windows of images and of maps, and how they spread from one layer to the next."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]
"""Of rows and of columns."""
Span = tuple[int, int]
"""The first pixel of a side, and the one behind the last."""


class Window(NamedTuple):
    """The same pixels of all images or maps (n, c, h, w)."""

    rows: Span
    columns: Span

    def of(self, maps: Tensor) -> Tensor:
        """What is in it: a view of `maps`."""
        return maps[..., slice(*self.rows), slice(*self.columns)]

    def around(self, other: Window) -> Window:
        """The smallest window around both."""
        return Window(*((min(a, c), max(b, d)) for (a, b), (c, d) in zip(self, other, strict=True)))

    def pixels(self) -> int:
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


class Sliding(NamedTuple):
    """How a convolution or a pooling goes over a map."""

    extent: Pair
    """Of the kernel, holes and all."""
    stride: Pair
    padding: Pair
    """With zeros."""

    def reached(self, changed: Window, size: Pair) -> Window:
        """The window, of an output of `size`, that a change reaches; its own size does not depend on where the change is."""
        return Window(*map(_reached, changed, size, *self))

    def needed(self, window: Window, maps: Framed) -> Tensor:
        """What a window of the output is computed from, without any more padding: a view of `maps`."""
        spans = (
            (first * stride + frame - padding, (end - 1) * stride + frame - padding + extent)
            for (first, end), frame, extent, stride, padding in zip(window, maps.frame, *self, strict=True)
        )
        return Window(*spans).of(maps.framed)


class Framed(NamedTuple):
    """Maps (n, c, h, w) in a frame of zeros: the padding of whoever looks at a window of them."""

    framed: Tensor
    frame: Pair
    """Its width above and below, and at either side."""

    @classmethod
    def around(cls, maps: Tensor, frame: Pair) -> Framed:
        """A copy of `maps`."""
        return cls(functional.pad(maps, (frame[1], frame[1], frame[0], frame[0])), frame)

    def inner(self) -> Tensor:
        """The maps: a view."""
        return Window(*((width, side - width) for width, side in zip(self.frame, self.framed.shape[-2:], strict=True))).of(
            self.framed
        )


def _reached(changed: Span, size: int, extent: int, stride: int, padding: int) -> Span:
    """The outputs that look at one of the pixels: as many wherever these are, so that kernels meet few shapes."""
    count = min(size, (changed[1] - changed[0] + extent - 2) // stride + 1)
    first = -((extent - 1 - padding - changed[0]) // stride)
    first = min(max(first, 0), size - count)
    return first, first + count
