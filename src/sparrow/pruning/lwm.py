"""Lowest weight magnitude (LWM): the smallest weights go, in one shot.

Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015; for
robust networks Sehwag et al., "Towards Compact and Robust Deep Neural Networks", arXiv 1906.06110.
"""

from __future__ import annotations

from typing import Literal

from sparrow.lazy import torch
from sparrow.settings import Settings

LEARNS = False


class Params(Settings):
    """Where magnitudes compete."""

    scope: Literal["layer", "global"] = "layer"
    """Compare magnitudes within each layer (the same ratio in all of them), or over the whole network."""


def prepare(params: Params, ratio: float, generator: torch.Generator):
    """A pruner that keeps the largest `|W|`."""
    from sparrow.pruning._masks import keep_highest, keep_highest_everywhere
    from sparrow.pruning._pruner import OneShot

    def masks(weights):
        magnitudes = {name: weight.detach().abs() for name, weight in weights.items()}
        if params.scope == "global":
            return keep_highest_everywhere(magnitudes, ratio)
        return {name: keep_highest(magnitude, ratio) for name, magnitude in magnitudes.items()}

    return OneShot(masks)
