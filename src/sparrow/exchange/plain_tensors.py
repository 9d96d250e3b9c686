"""A third party's tensors as dense floating-point numbers: packed ones are unpacked, other types are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sparrow.errors import CheckpointError

COUNTER = "num_batches_tracked"
MASK = "_mask"
"""Ending of the name of a parameter's mask by torch.nn.utils.prune; a mask may be of any type."""
MOST_LINES = 12


def dense_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """`tensors`, dense and of floating point (except counters and masks), and a line on each kind that was unpacked.

    Raises CheckpointError, one line for each tensor of integers, of truth values, of complex numbers or without values: none of
    them can be a weight.
    """
    unpacked: Counter[str] = Counter()
    found, lines = {}, []
    for name, tensor in tensors.items():
        try:
            found[name], kind = _unpacked(tensor)
        except (RuntimeError, NotImplementedError) as error:
            lines.append(f"{name} is {_kind(tensor)}, which cannot be read as numbers ({str(error).splitlines()[0]})")
            continue
        unpacked.update([kind] if kind else [])
        if found[name].is_meta:
            lines.append(f"{name} has no values (it is on torch's device meta)")
        elif not found[name].is_floating_point() and not name.endswith((COUNTER, MASK)):
            lines.append(f"{name} is of {_kind(tensor)}; valid: floating point, such as float32")
    if lines:
        more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        raise CheckpointError("\n".join(f"{path}: {line}" for line in [*lines[:MOST_LINES], *more]))
    return found, [f"{count} tensors were {kind}: taken as the numbers that they stand for" for kind, count in unpacked.items()]


def _unpacked(tensor: Tensor) -> tuple[Tensor, str]:
    """The tensor as dense numbers, and its kind before, in words; empty if it was dense."""
    if tensor.is_quantized:
        return tensor.dequantize(), f"quantised ({_kind(tensor)})"
    if tensor.layout is not torch.strided:
        return tensor.to_dense(), str(tensor.layout).removeprefix("torch.").replace("_", " ")
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return tensor.to(torch.float32), _kind(tensor)
    return tensor, ""


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
