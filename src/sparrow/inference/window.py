"""Windows of images and of feature maps, and how a change inside one spreads from a layer's input to its output."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]
"""A number for the rows and one for the columns."""
Span = tuple[int, int]
"""First row (or column), and the one after the last."""


class Window(NamedTuple):
    """A rectangle of pixels, the same in all images or maps (n, c, h, w)."""

    rows: Span
    columns: Span

    def of(self, maps: Tensor) -> Tensor:
        """The part of `maps` (n, c, h, w) inside the window: a view."""
        return maps[..., slice(*self.rows), slice(*self.columns)]

    def around(self, other: Window) -> Window:
        """The smallest window that holds this one and the other."""
        return Window(*((min(a, c), max(b, d)) for (a, b), (c, d) in zip(self, other, strict=True)))

    def pixels(self) -> int:
        """Pixels of the window in one map."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


class Kernel(NamedTuple):
    """The geometry of a convolution or a pooling."""

    extent: Pair
    """Rows and columns that the kernel spans, dilation included: dilation * (size - 1) + 1."""
    stride: Pair
    padding: Pair
    """Zeros added on each side (rows, columns)."""

    def output_window(self, changed: Window, size: Pair) -> Window:
        """The window of an output of `size` (rows, columns) that a change inside the window `changed` of the input can reach.

        Its own size does not depend on where the change is.
        """
        return Window(*map(_output_span, changed, size, *self))

    def inputs_of(self, window: Window, maps: PaddedMaps) -> Tensor:
        """The part of `maps` from which a window of the output is computed, its padding included: a view."""
        spans = (
            (first * stride + border - padding, (end - 1) * stride + border - padding + extent)
            for (first, end), border, extent, stride, padding in zip(window, maps.padding, *self, strict=True)
        )
        return Window(*spans).of(maps.padded)


class PaddedMaps(NamedTuple):
    """Maps (n, c, h, w) with zeros around them, so that the padding of any layer that reads them is there already."""

    padded: Tensor
    """The maps, zeros included (n, c, h + 2 * rows, w + 2 * columns)."""
    padding: Pair
    """Zeros on each side (rows, columns)."""

    @classmethod
    def copied(cls, maps: Tensor, padding: Pair) -> PaddedMaps:
        """A copy of `maps` (n, c, h, w) with `padding` zeros on each side (rows, columns)."""
        return cls(functional.pad(maps, (padding[1], padding[1], padding[0], padding[0])), padding)

    def unpadded(self) -> Tensor:
        """The maps (n, c, h, w) without the zeros: a view."""
        spans = ((border, side - border) for border, side in zip(self.padding, self.padded.shape[-2:], strict=True))
        return Window(*spans).of(self.padded)


def _output_span(changed: Span, size: int, extent: int, stride: int, padding: int) -> Span:
    """The outputs that read a pixel of `changed`: as many wherever these are, so that convolutions meet few shapes."""
    count = min(size, (changed[1] - changed[0] + extent - 2) // stride + 1)
    first = -((extent - 1 - padding - changed[0]) // stride)
    first = min(max(first, 0), size - count)
    return first, first + count
