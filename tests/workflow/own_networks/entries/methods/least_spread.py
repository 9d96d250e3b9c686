"""Least spread: what is nearest to the mean of its layer is removed, weights or filters.

Source: an example, not a paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, PerLayer

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(PerLayer, AnyGranularity):
    """How layers share the ratio, and what is removed."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the weights that are furthest from their layer's mean."""
    from sparrow.pruning.one_shot import OneShot

    return OneShot(params, ratio, lambda weight: (weight - weight.mean()).abs())
