"""The multiply-adds of whatever runs, counted operation by operation.

torch's FlopCounterMode does not take what auto_LiRPA does (tensors of a class of its own, tracing), so the profiler's record
of operations and shapes is counted: products and convolutions, and the backward passes of these.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # It says when it starts and stops, and that there is no GPU.

from torch.profiler import ProfilerActivity, profile


class Count:
    """The multiply-adds, once the context is left."""

    multiply_adds = 0


@contextmanager
def counted() -> Iterator[Count]:
    """Count what runs inside."""
    count = Count()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True) as record:
        yield count
    count.multiply_adds = sum(
        _multiply_adds(event.name, event.input_shapes, event.concrete_inputs) for event in record.events()
    )


def _multiply_adds(name: str, shapes: list[list[int]], values: list[Any]) -> int:
    """Those of one operation, by its name, the shapes of its inputs and the values of those that are no tensors."""
    match name:
        case "aten::mm" | "aten::bmm":
            return math.prod(shapes[0]) * shapes[1][-1]
        case "aten::addmm" | "aten::baddbmm":
            return math.prod(shapes[1]) * shapes[2][-1]
        case "aten::convolution":
            images, weight, _, stride, padding, dilation, transposed = (*shapes[:3], *values[3:7])
            places = images[2:] if transposed else _places(images[2:], weight[2:], stride, padding, dilation)
            return images[0] * math.prod(places) * math.prod(weight)
        case "aten::convolution_backward":
            gradient, images, weight, transposed, wanted = (*shapes[:3], values[7], values[10])
            places = images[2:] if transposed else gradient[2:]
            return images[0] * math.prod(places) * math.prod(weight) * sum(wanted[:2])
    return 0


def _places(size: list[int], kernel: list[int], *settings: list[int]) -> list[int]:
    """How often a kernel is put down along each axis (`settings`: stride, padding, dilation)."""
    stride, padding, dilation = (setting * len(size) if len(setting) == 1 else setting for setting in settings)
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
