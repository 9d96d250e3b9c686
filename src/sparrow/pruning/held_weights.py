"""Weights that training keeps at zero outside of masks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sparrow.pruning.pruner import Weights, gradient_of


def hold(weights: Weights, masks: Mapping[str, Tensor]) -> None:
    """Set all weights outside their masks to zero, in place; those without a mask stay as they are."""
    for name, mask in masks.items():
        weights[name].data.mul_(mask)


def hold_gradients(weights: Weights, masks: Mapping[str, Tensor]) -> None:
    """Set the gradients of all weights outside their masks to zero, in place; those without a mask stay as they are."""
    for name, mask in masks.items():
        gradient_of(weights[name]).mul_(mask)
