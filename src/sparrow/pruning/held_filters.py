"""Methods that remove whole filters while the network trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.networks.structure import Layout, filter_masks
from sparrow.pruning.masks import spread
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Masks, Pruner, Step, Weights


class HeldFilters(Pruner):
    """A pruner that trains all parameters; what belongs to filters that a method has removed by `keep` stays at zero.

    That is their weights, biases, and the scales and shifts of the norms behind them.
    """

    others = "all"
    budget = "filters"

    def __init__(self, params: Method) -> None:
        self._params = params

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self.layout = layout
        sizes = layout.filters(weights).items()
        self.keep({block: torch.ones(size, dtype=torch.bool) for block, size in sizes}, weights)
        return list(weights.values())

    def keep(self, kept: Mapping[str, Tensor], weights: Weights) -> None:
        """From now on, only the filters (n,) that are true in `kept` are there, by the first layer of their group."""
        self.kept = {block: mask.to(weights[block].device) for block, mask in kept.items()}
        masks = spread(self.kept, self.layout, self._params, weights)
        self.masks = masks | filter_masks(self.network, self.layout, masks)
        self._hold()

    def after_backward(self, weights: Weights, step: Step) -> None:
        for name, parameter in self.network.named_parameters():
            if name in self.masks and parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])

    def after_step(self, weights: Weights, step: Step) -> None:
        self._hold()

    def end(self, weights: Weights) -> Masks:
        return {name: self.masks[name] for name in weights}

    def _hold(self) -> None:
        for name, parameter in self.network.named_parameters():
            if name in self.masks:
                parameter.data.mul_(self.masks[name])
