"""Bounds on functions of single neurons that auto_LiRPA 0.3 does not know, or bounds by intervals alone.

A function is given by its pieces, on each of which it is convex or concave. Its lines have the slope of the chord, and are
moved until they touch it: what the function is off a line is extreme at an end of the interval, at the end of a piece, or where
the slopes are equal, which bisection finds, since on a piece the slope is monotone. The range is that of the same points for a
line without a slope.

Source: the relaxation of Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions",
NeurIPS 2018, with parallel lines.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sparrow.verification.bounded_network import ElementwiseNode, Node
from sparrow.verification.linear_bounds import LinearBounds, by_sign

HALVINGS = 40
"""Of an interval, until its ends are neighbours as numbers."""
SELU_SCALE = 1.0507009873554805 * 1.6732632423543772
"""The slope of SELU just below 0."""
SLACK = 1e-6
"""How far lines are moved beyond what they touch, of the largest number that went into them."""

Function = Callable[[Tensor], Tensor]


class Piece(NamedTuple):
    """Where a function is convex (`bend` 1), concave (-1) or straight (0)."""

    start: float
    end: float
    bend: int


class Elementwise(NamedTuple):
    """A function of each neuron by itself."""

    value: Function
    slope: Function
    """Its derivative inside of pieces that are not straight."""
    pieces: tuple[Piece, ...]
    """All of them, in order."""


def points_of(function: Elementwise, tilt: Tensor, lower: Tensor, upper: Tensor) -> list[Tensor]:
    """Points (n, ...) from `lower` to `upper`; at some, `function` less a line of slope `tilt` is largest, and smallest."""
    found = [lower, upper]
    with torch.no_grad():
        for piece in function.pieces:
            low = torch.minimum(lower.clamp(min=piece.start), upper)
            high = torch.maximum(upper.clamp(max=piece.end), lower)
            found += [low, high]
            if piece.bend:
                for _ in range(HALVINGS):
                    middle = (low + high) / 2
                    before = piece.bend * (function.slope(middle) - tilt) < 0  # The slopes are equal further up.
                    low, high = torch.where(before, middle, low), torch.where(before, high, middle)
                found.append(low)
    return found


def range_of(function: Elementwise, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value (n, ...) between `lower` and `upper`, differentiable in both."""
    ends = function.value(lower), function.value(upper)
    with torch.no_grad():  # Where something between them is extreme, it does not move with them.
        between = torch.stack([function.value(one) for one in points_of(function, torch.zeros_like(lower), lower, upper)])
        least, most = between.amin(dim=0), between.amax(dim=0)
    lowest, highest = torch.minimum(*ends), torch.maximum(*ends)
    return torch.where(least < lowest, least, lowest), torch.where(most > highest, most, highest)


def lines_of(function: Elementwise, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A slope, and the offsets of the lines of this slope (n, ...) below and above `function` between `lower` and `upper`."""
    width = upper - lower
    chord = (function.value(upper) - function.value(lower)) / width.clamp(min=SLACK)
    tilt = torch.where(width > SLACK, chord, torch.zeros_like(chord)).detach()
    apart = torch.stack([function.value(point) - tilt * point for point in points_of(function, tilt, lower, upper)])
    largest = torch.maximum(lower.abs(), upper.abs()).clamp(min=1) * tilt.abs().clamp(min=1)
    return tilt, apart.amin(dim=0) - SLACK * largest, apart.amax(dim=0) + SLACK * largest


def _straight(*kinks: float) -> tuple[Piece, ...]:
    ends = [-math.inf, *kinks, math.inf]
    return tuple(Piece(start, end, 0) for start, end in pairwise(ends))


def _clip(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    least, most = map(float, constants) if constants else (attributes.get("min", -math.inf), attributes.get("max", math.inf))
    return Elementwise(lambda x: x.clamp(least, most), torch.zeros_like, _straight(least, most))


def _hard_sigmoid(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    slope, offset = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return Elementwise(
        lambda x: (slope * x + offset).clamp(0, 1), torch.zeros_like, _straight(-offset / slope, (1 - offset) / slope)
    )


def _hard_swish(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    pieces = Piece(-math.inf, -3, 0), Piece(-3, 3, 1), Piece(3, math.inf, 0)
    return Elementwise(functional.hardswish, lambda x: x / 3 + 0.5, pieces)


def _elu(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    scale = attributes.get("alpha", 1.0)
    pieces = Piece(-math.inf, 0, 1 if scale >= 0 else -1), Piece(0, math.inf, 0)
    return Elementwise(lambda x: functional.elu(x, scale), lambda x: scale * x.clamp(max=0).exp(), pieces)


def _selu(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    pieces = Piece(-math.inf, 0, 1), Piece(0, math.inf, 0)
    return Elementwise(functional.selu, lambda x: SELU_SCALE * x.clamp(max=0).exp(), pieces)


def _celu(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    width = attributes["alpha"]
    pieces = Piece(-math.inf, 0, 1 if width > 0 else -1), Piece(0, math.inf, 0)
    return Elementwise(lambda x: functional.celu(x, width), lambda x: (x / width).clamp(max=0).exp(), pieces)


def _prelu(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    (slopes,) = constants
    return Elementwise(lambda x: torch.where(x >= 0, x, slopes * x), torch.zeros_like, _straight(0))


def _softplus(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    return Elementwise(functional.softplus, torch.sigmoid, (Piece(-math.inf, math.inf, 1),))


def _square(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    if any(float(power) != 2 for power in constants):
        raise NotImplementedError("a power other than 2")
    return Elementwise(torch.square, lambda x: 2 * x, (Piece(-math.inf, math.inf, 1),))


def _erf(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    pieces = Piece(-math.inf, 0, 1), Piece(0, math.inf, -1)
    return Elementwise(torch.erf, lambda x: 2 / math.sqrt(math.pi) * (-x.square()).exp(), pieces)


def _gelu(attributes: Mapping[str, Any], constants: Sequence[Tensor]) -> Elementwise:
    def slope(x: Tensor) -> Tensor:
        return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * (-x.square() / 2).exp() / math.sqrt(2 * math.pi)

    # The second derivative is (2 - x^2) times the normal density.
    bend = math.sqrt(2)
    pieces = Piece(-math.inf, -bend, -1), Piece(-bend, bend, 1), Piece(bend, math.inf, -1)
    return Elementwise(functional.gelu, slope, pieces)


FUNCTIONS: dict[str, Callable[[Mapping[str, Any], Sequence[Tensor]], Elementwise]] = {
    "onnx::Clip": _clip,
    "onnx::HardSigmoid": _hard_sigmoid,
    "onnx::Elu": _elu,
    "onnx::Selu": _selu,
    "sparrow::Celu": _celu,
    "onnx::PRelu": _prelu,
    "onnx::Softplus": _softplus,
    "onnx::Pow": _square,
    "onnx::Erf": _erf,
    "sparrow::Gelu": _gelu,
    "sparrow::HardSwish": _hard_swish,
}
"""From an operation's attributes and its inputs but the first to the function, by the operation's name in a traced graph."""


def register(lirpa: ModuleType) -> None:
    """Have `lirpa`, which is auto_LiRPA 0.3, bound the operations in `FUNCTIONS` so."""
    activation = importlib.import_module("auto_LiRPA.operators.activation").BoundActivation
    for name, of in FUNCTIONS.items():
        lirpa.register_custom_op(name, _node_class(activation, f"Bound{name.rpartition('::')[2]}", of))


def _node_class(activation: type, name: str, of: Callable[[Mapping[str, Any], Sequence[Tensor]], Elementwise]) -> type:
    initial = vars(activation)["__init__"]

    def __init__(self: ElementwiseNode, attr: dict[str, Any], inputs: list[Node], output_index: int, options: dict) -> None:
        initial(self, attr, inputs, output_index, options)
        self.attributes = attr

    def forward(self: ElementwiseNode, x: Tensor, *constants: Tensor) -> Tensor:
        if any(self.is_input_perturbed(place) for place in range(1, 1 + len(constants))):
            raise NotImplementedError(f"a {name.removeprefix('Bound')} whose settings depend on the image")
        self.function = of(self.attributes, constants)
        return self.function.value(x)

    def interval_propagate(self: ElementwiseNode, *v: tuple) -> tuple[Tensor, Tensor]:
        return range_of(self.function, v[0][0], v[0][1])

    def bound_backward(
        self: ElementwiseNode, last_lA: Tensor | None, last_uA: Tensor | None, x: Node, *constants: Node
    ) -> LinearBounds:
        tilt, below, above = lines_of(self.function, x.lower, x.upper)
        found, lower, upper = by_sign(self, last_lA, last_uA, (tilt, below), (tilt, above))
        return found + [(None, None)] * len(constants), lower, upper

    methods = {
        "__init__": __init__,
        "forward": forward,
        "interval_propagate": interval_propagate,
        "bound_backward": bound_backward,
    }
    return type(name, (activation,), methods)
