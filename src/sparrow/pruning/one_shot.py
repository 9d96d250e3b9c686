"""Methods that prune by a pure function of the weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sparrow.networks.structure import Layout
from sparrow.pruning.masks import budget_of, is_by_filter, masks_of
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Masks, Pruner, Weights


class OneShot(Pruner):
    """A pruner that keeps the weights (or filters) with the highest scores."""

    def __init__(self, params: Method, ratio: float, score: Callable[[Tensor], Tensor]) -> None:
        """`score` maps a weight tensor to scores of its shape."""
        self._params, self._ratio, self._score = params, ratio, score
        self.budget = "filters" if is_by_filter(params) else "weights"

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self._layout = layout
        return []

    def end(self, weights: Weights) -> Masks:
        scores = {name: self._score(weight.detach()) for name, weight in weights.items()}
        budget = budget_of(weights, self._layout, self._ratio, self._params, scores)
        return masks_of(scores, self._layout, budget, self._params, weights)
