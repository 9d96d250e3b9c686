"""ADMM's pull on the weights: towards sparse targets Z, with duals U that sum up what the weights miss them by.

The penalty `rho/2 |W - Z + U|^2` has the gradient `rho (W - Z + U)`. An update sets `Z <- project(W + U)`, which keeps the
units of each block with the largest magnitudes (filters: the largest L2 norms), and then `U <- U + W - Z`.

Source: Ye et al., "Adversarial Robustness vs. Model Compression, or Both?", ICCV 2019; after Boyd et al., "Distributed
Optimization and Statistical Learning via the Alternating Direction Method of Multipliers", 2011.
"""

from __future__ import annotations

from torch import Tensor, zeros_like

from sparrow.networks.structure import Layout
from sparrow.pruning.masks import budget_of, is_by_filter, masks_of
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Masks, Pruner, Weights, gradient_of


class SparseTargets(Pruner):
    """A pruner that has `targets` and `duals`, shaped like the weights; a method says when it pulls, and when it updates."""

    others = "all"

    def __init__(self, params: Method, ratio: float) -> None:
        self._params, self._ratio = params, ratio
        self.budget = "filters" if is_by_filter(params) else "weights"

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self.layout, self.drops = layout, budget_of(weights, layout, self._ratio, self._params)
        self.duals = {name: zeros_like(weight) for name, weight in weights.items()}
        self.targets = self.project(weights)
        return list(weights.values())

    def keep(self, values: Weights) -> Masks:
        """Masks of what is largest in `values`, shaped like the weights, at the pruning ratio."""
        squares = {name: value.detach().square() for name, value in values.items()}
        return masks_of(squares, self.layout, self.drops, self._params, values)

    def project(self, values: Weights) -> dict[str, Tensor]:
        """The nearest sparse tensors to `values`."""
        masks = self.keep(values)
        return {name: value.detach() * masks[name] for name, value in values.items()}

    def pull(self, weights: Weights, rho: float) -> None:
        """Add the penalty's gradient to that of the weights."""
        for name, weight in weights.items():
            gradient_of(weight).add_(rho * (weight.detach() - self.targets[name] + self.duals[name]))

    def update(self, weights: Weights) -> None:
        """Set the targets anew, then the duals."""
        self.targets = self.project({name: weight.detach() + self.duals[name] for name, weight in weights.items()})
        for name, dual in self.duals.items():
            dual += weights[name].detach() - self.targets[name]

    def end(self, weights: Weights) -> Masks:
        return self.keep(weights)


def distance(first: Weights, second: Weights) -> float:
    """Euclidean distance over all layers."""
    return sum(float((first[name].detach() - second[name].detach()).square().sum()) for name in first) ** 0.5
