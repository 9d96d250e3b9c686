"""How many of so many units a pruning ratio removes, and which ratios leave every layer a filter. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

from sparrow.pruning.params import Method

DIGITS = 4
"""Decimals of the largest ratio that a refusal names."""


def pruned_count(size: int, ratio: float) -> int:
    """How many of `size` units the pruning ratio removes, to the nearest one; HYDRA's and HARP's released codes round down."""
    return round(ratio * size)


def prunes_alike(params: Method) -> bool:
    """Whether the method removes the share `ratio` of each layer, whatever the others lose."""
    allocation = getattr(params, "allocation", None)
    return allocation == "uniform" or (allocation is None and params.locality == "layer")


def shortage(params: Method, sizes: Mapping[str, int], ratio: float) -> str | None:
    """One line that says that the ratio leaves a layer none of its filters, and which ratios do not; None if it leaves some.

    `sizes` has each layer's (or group's) filters. Where filters of all layers compete, one has to be left for each layer.
    """
    if prunes_alike(params):
        return shortage_of_each(sizes, ratio)
    total = sum(sizes.values())
    left = total - pruned_count(total, ratio)
    if left >= len(sizes):
        return None
    return (
        f"the ratio {ratio:g} would leave {left} of all {total} filters to {len(sizes)} layers, each of which keeps one; "
        f"valid: at most {largest_ratio(total, len(sizes)):g}"
    )


def shortage_of_each(sizes: Mapping[str, int], ratio: float) -> str | None:
    """`shortage`, where each layer loses the share `ratio`."""
    # The fewer filters a layer has, the smaller is the ratio that takes them all.
    layer = min(sizes, key=lambda name: sizes[name], default=None)
    if layer is None or pruned_count(sizes[layer], ratio) < sizes[layer]:
        return None
    filters = sizes[layer]
    return f"the ratio {ratio:g} would remove all {filters} filters of {layer}; valid: at most {largest_ratio(filters):g}"


def largest_ratio(filters: int, spared: int = 1) -> float:
    """The largest ratio, to `DIGITS` decimals, that leaves `spared` of the filters."""
    scale = 10**DIGITS
    found = floor(scale * (filters - spared + 0.5) / filters)
    # Halves are rounded to the even number, which may be the next one.
    return (found - (filters - pruned_count(filters, found / scale) < spared)) / scale


def pruned_after(part: int, parts: int, size: int, ratio: float) -> int:
    """How many of `size` units `part` of `parts` prunings remove, each of which keeps the same share of what is left."""
    return pruned_count(size, ratio if part == parts else 1 - (1 - ratio) ** (part / parts))
