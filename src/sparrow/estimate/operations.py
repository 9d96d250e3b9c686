"""The multiply-adds of a piece of code, from the profiler's record of its operations and their shapes.

Matrix products and convolutions are counted, and the backward passes of these. torch's FlopCounterMode fails on auto_LiRPA's
code (a tensor class of its own, tracing).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # The profiler prints when it starts and stops, and that there is no GPU.

from torch.profiler import ProfilerActivity, profile


class Count:
    """Multiply-adds, set when the context ends."""

    multiply_adds = 0


@contextmanager
def count_operations() -> Iterator[Count]:
    """Yield a Count of the operations inside the context."""
    count = Count()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True) as record:
        yield count
    count.multiply_adds = sum(
        _multiply_adds(event.name, event.input_shapes, event.concrete_inputs) for event in record.events()
    )


def _multiply_adds(name: str, shapes: list[list[int]], values: list[Any]) -> int:
    """Multiply-adds of one operation: its name, the shapes of its inputs, and the values of inputs that are no tensors."""
    match name:
        case "aten::mm" | "aten::bmm":
            return math.prod(shapes[0]) * shapes[1][-1]
        case "aten::addmm" | "aten::baddbmm":
            return math.prod(shapes[1]) * shapes[2][-1]
        case "aten::convolution":
            (images, weight, *_), (stride, padding, dilation, transposed) = shapes, values[3:7]
            places = images[2:] if transposed else _places(images[2:], weight[2:], stride, padding, dilation)
            return images[0] * math.prod(places) * math.prod(weight)
        case "aten::convolution_backward":
            gradient, images, weight, transposed, wanted = (*shapes[:3], values[7], values[10])
            places = images[2:] if transposed else gradient[2:]
            return images[0] * math.prod(places) * math.prod(weight) * sum(wanted[:2])
    return 0


def _places(size: list[int], kernel: list[int], *settings: list[int]) -> list[int]:
    """Output size of a convolution along each axis (`settings`: stride, padding, dilation)."""
    stride, padding, dilation = (setting * len(size) if len(setting) == 1 else setting for setting in settings)
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
