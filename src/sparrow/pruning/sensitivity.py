"""Methods that prune by the weights and the loss's mean gradient over some batches, at weights that stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sparrow.networks.structure import Layout
from sparrow.pruning.masks import budget_of, masks_of
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Masks, Pruner, Weights, gradient_of
from sparrow.training.loop import Step


class Sensitivity(Pruner):
    """A pruner that keeps the weights with the highest scores."""

    def __init__(self, params: Method, ratio: float, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        """`score` maps a weight tensor and its mean gradient to scores of their shape."""
        self._params, self._ratio, self._score = params, ratio, score

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self._layout, self._batches = layout, 0
        self._gradients = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return []

    def after_backward(self, weights: Weights, step: Step) -> None:
        self._batches += 1
        for name, total in self._gradients.items():
            total += gradient_of(weights[name])

    def end(self, weights: Weights) -> Masks:
        scores = {name: self._score(weight.detach(), self._gradients[name] / self._batches) for name, weight in weights.items()}
        budget = budget_of(weights, self._layout, self._ratio, self._params, scores)
        return masks_of(scores, self._layout, budget, self._params, weights)
