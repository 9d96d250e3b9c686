"""Random pruning: weights drawn uniformly in each layer, the control that every method has to beat.

Source: the control of Blalock et al., "What is the State of Neural Network Pruning?", MLSys 2020.
"""

from __future__ import annotations

from sparrow.lazy import torch
from sparrow.settings import Settings

LEARNS = False


class Params(Settings):
    """Nothing to set."""


def prepare(params: Params, ratio: float, generator: torch.Generator):
    """A pruner that keeps a random share `1 - ratio` of every layer, drawn from `generator`."""
    from sparrow.pruning._masks import keep_highest
    from sparrow.pruning._pruner import OneShot

    def masks(weights):
        return {
            name: keep_highest(torch.rand(weight.shape, generator=generator), ratio).to(weight.device)
            for name, weight in weights.items()
        }

    return OneShot(masks)
