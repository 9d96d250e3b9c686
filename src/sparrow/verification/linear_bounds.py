"""What operations return on the way back: bounds that are linear in their inputs."""

from __future__ import annotations

from torch import Tensor

from sparrow.verification.bounded_network import Node

Line = tuple[Tensor, Tensor]
"""Slope and offset (n, ...) of a line for each neuron."""
LinearBounds = tuple[list[tuple[Tensor | None, Tensor | None]], Tensor | float, Tensor | float]
"""Of each input of an operation the coefficients (margins, n, ...) in the lower and the upper bound, and both offsets."""


def by_sign(node: Node, last_lA: Tensor | None, last_uA: Tensor | None, below: Line, above: Line) -> LinearBounds:
    """What `bound_backward` of an element-wise operation between two lines, each a slope and an offset, returns."""

    def one_side(matrix: Tensor | None, of_positive: Line, of_negative: Line) -> tuple[Tensor | None, Tensor | int]:
        if matrix is None:
            return None, 0
        positive, negative = matrix.clamp(min=0), matrix.clamp(max=0)
        offset = node.get_bias(positive, of_positive[1]) + node.get_bias(negative, of_negative[1])
        return positive * of_positive[0] + negative * of_negative[0], offset

    (lA, lbias), (uA, ubias) = one_side(last_lA, below, above), one_side(last_uA, above, below)
    return [(lA, uA)], lbias, ubias
