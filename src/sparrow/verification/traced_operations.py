"""Operations that a network is traced to for auto_LiRPA, where torch's exporter writes them in a way that bounds lose by.

GELU and Hardswish stay one function of each neuron, where the exporter makes a product of two; CELU is known, and the slopes of
PReLUs get their axes one by one. Group and instance norms become means, differences, squares and a quotient, as layer norms do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from types import ModuleType
from typing import Any

import torch

OPSET = 12
"""The version of ONNX's operations that auto_LiRPA 0.3 traces to."""


@contextmanager
def traced_as_bounded() -> Iterator[None]:
    """While the context is active, torch's exporter writes these operations so."""
    registry = torch.onnx
    for name, symbolic in _symbolics().items():
        registry.register_custom_op_symbolic(name, symbolic, OPSET)
    try:
        yield
    finally:
        for name in _symbolics():
            registry.unregister_custom_op_symbolic(name, OPSET)


def _symbolics() -> dict[str, Callable[..., Any]]:
    import importlib

    helper = importlib.import_module("torch.onnx.symbolic_helper")
    known = importlib.import_module("torch.onnx._internal.torchscript_exporter.symbolic_opset9")

    @helper.parse_args("v", "s")
    def gelu(g: Any, x: Any, approximate: str = "none") -> Any:
        # By tanh, it is a product of functions that auto_LiRPA knows.
        return g.op("sparrow::Gelu", x).setType(x.type()) if approximate == "none" else known.gelu(g, x, approximate)

    def hardswish(g: Any, x: Any) -> Any:
        return g.op("sparrow::HardSwish", x).setType(x.type())

    @helper.parse_args("v", "f")
    def celu(g: Any, x: Any, width: float) -> Any:
        return g.op("sparrow::Celu", x, alpha_f=width).setType(x.type())

    def prelu(g: Any, x: Any, slopes: Any) -> Any:
        many = slopes.type().sizes()[0] > 1
        return g.op("PRelu", x, _for_channels(g, helper, slopes, len(x.type().sizes()) if many else 2)).setType(x.type())

    @helper.parse_args("v", "i", "v", "v", "f", "i")
    def group_norm(g: Any, x: Any, groups: int, scale: Any, shift: Any, eps: float, unused: int) -> Any:
        return _normalised(g, helper, known, x, groups, (scale, shift), eps)

    @helper.parse_args("v", "v", "v", "v", "v", "b", "f", "f", "b")
    def instance_norm(
        g: Any, x: Any, scale: Any, shift: Any, mean: Any, variance: Any, own: bool, momentum: float, eps: float, cudnn: bool
    ) -> Any:
        if own:
            return _normalised(g, helper, known, x, x.type().sizes()[1], (scale, shift), eps)
        return known.batch_norm(g, x, scale, shift, mean, variance, False, momentum, eps, cudnn)

    return {
        "aten::gelu": gelu,
        "aten::hardswish": hardswish,
        "aten::celu": celu,
        "aten::prelu": prelu,
        "aten::group_norm": group_norm,
        "aten::instance_norm": instance_norm,
    }


def _normalised(g: Any, helper: ModuleType, known: ModuleType, x: Any, groups: int, affine: tuple[Any, Any], eps: float) -> Any:
    """Maps `x` (1, channels, ...) less their mean over the channels of a group, over their deviation, scaled and shifted."""
    sizes = x.type().sizes()

    def number(value: torch.Tensor) -> Any:
        return g.op("Constant", value_t=value)

    flat = helper._reshape_helper(g, x, number(torch.tensor([1, groups, prod(sizes[1:]) // groups])))
    apart = known.sub(g, flat, g.op("ReduceMean", flat, axes_i=[2], keepdims_i=1))
    variance = g.op("ReduceMean", known.pow(g, apart, number(torch.tensor(2.0))), axes_i=[2], keepdims_i=1)
    deviation = known.sqrt(g, g.op("Add", variance, number(torch.tensor(eps))))
    found = helper._reshape_helper(g, g.op("Div", apart, deviation), number(torch.tensor([1, *sizes[1:]])))
    for operation, values in zip((known.mul, known.add), affine, strict=True):
        if not helper._is_none(values):
            found = operation(g, found, _for_channels(g, helper, values, len(sizes)))
    return found


def _for_channels(g: Any, helper: ModuleType, values: Any, axes: int) -> Any:
    """Numbers (channels,) as they are broadcast to what has so many `axes`, by one axis at a time."""
    for _ in range(axes - 2):
        values = helper._unsqueeze_helper(g, values, [1])
    return values
