"""Checks of the masks that a method has made: which weights they are of, and how many they remove."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.networks.structure import Layout, removed_filters
from sparrow.pruning.learned_shares import FilterBudget
from sparrow.pruning.masks import dense_layers, inputs_of
from sparrow.pruning.params import Method
from sparrow.pruning.pattern import Pattern

Tensors = Mapping[str, Tensor]


def check_masks(
    masks: Tensors, weights: Tensors, layout: Layout, ratio: float, budget: str, params: Method | None = None
) -> str | None:
    """One line that says what is wrong with the masks, or None: every layer has its own, and the ratio is right.

    Right means: to one weight a layer; to one filter a layer; for a budget of multiply-adds, that it is not
    exceeded, and would be if any layer had one filter more; of a method `params` that keeps N of every M weights, exactly so.
    """
    if masks.keys() != weights.keys():
        return f"gave masks for {sorted(masks)}, expected {sorted(weights)}"
    if params and params.pattern:
        return _off_pattern(masks, params.pattern, dense_layers(params))
    if budget == "weights":
        size = sum(mask.numel() for mask in masks.values())
        kept = sum(int(mask.sum()) for mask in masks.values())
        return _miscount(size - kept, size, ratio, len(masks), budget)
    grouped = {name for group in layout.groups for name in group.layers}
    for name, mask in masks.items():
        rows = mask.flatten(1)
        if not (rows.all(dim=1) | ~rows.any(dim=1)).all():
            return f"pruned single weights of {name}, not whole filters"
        if name not in grouped and not mask.all():
            return f"pruned filters of {name}, which is the output layer"
    gone = {group.layers[0]: int(removed_filters(group, masks).sum()) for group in layout.groups}
    if budget == "multiply-adds":
        return _off_target(FilterBudget(dict(weights), layout, ratio), gone, ratio)
    size = sum(len(weights[block]) for block in gone)
    return _miscount(sum(gone.values()), size, ratio, len(gone), budget)


def raise_for(
    masks: Tensors, weights: Tensors, layout: Layout, ratio: float, budget: str, kind: str, params: Method | None = None
) -> None:
    """Raise SparrowError, naming the method, if `check_masks` finds a fault."""
    fault = check_masks(masks, weights, layout, ratio, budget, params)
    if fault:
        raise SparrowError(f"methods.{kind}: {fault}")


def require_pattern(params: Method, weights: Tensors, kind: str) -> None:
    """Raise SparrowError, naming method and layers, if it is to keep N of every M weights where layers do not allow it."""
    dense = dense_layers(params)
    if unknown := [name for name in dense if name not in weights]:
        raise SparrowError(f"methods.{kind}: dense_layers: no weights {', '.join(unknown)}; valid: {', '.join(weights)}")
    if params.pattern and (line := params.pattern.misfit(inputs_of(weights), dense)):
        raise SparrowError(f"methods.{kind}: {line}")


def off_ratio(params: Method, masks: Tensors) -> str | None:
    """What share of the weights `masks` remove where a pattern spares layers; None where it spares none."""
    dense = dense_layers(params)
    size, kept = (sum(int(count(mask)) for mask in masks.values()) for count in (Tensor.numel, Tensor.sum))
    return f"leaves {', '.join(dense)} dense, so that {1 - kept / size:.4f} of all weights are pruned" if dense else None


def _off_pattern(masks: Tensors, pattern: Pattern, dense: list[str]) -> str | None:
    for name, mask in masks.items():
        if name in dense:
            if not mask.all():
                return f"pruned weights of {name}, which is to stay dense"
        elif not (mask.reshape(-1, pattern.among).sum(dim=1) == pattern.kept).all():
            return f"does not keep {pattern} of {name}"
    return None


def _miscount(pruned: int, size: int, ratio: float, slack: int, what: str) -> str | None:
    if abs(pruned - ratio * size) <= slack:
        return None
    return f"pruned {pruned} of {size} {what}, the ratio {ratio:g} asks for {ratio * size:.0f}"


def _off_target(budget: FilterBudget, gone: dict[str, int], ratio: float) -> str | None:
    if not budget.fits(gone):
        return f"keeps more multiply-adds than the ratio {ratio:g} leaves (filters lost: {gone})"
    if budget.more(gone):
        return f"prunes more multiply-adds than the ratio {ratio:g} asks for (filters lost: {gone})"
    return None
