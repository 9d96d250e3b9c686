"""Training from scratch under masks that are drawn at random before the first step."""

from __future__ import annotations

import torch

from sparrow.networks.structure import Layout
from sparrow.pruning.masks import budget_of, random_masks
from sparrow.pruning.params import FromScratch
from sparrow.pruning.pruner import Masks, Weights
from sparrow.pruning.sparse_training import SparseTraining


class RandomStart(SparseTraining):
    """A pruner that trains under random masks, which stay as they are unless a method changes them."""

    def __init__(self, params: FromScratch, ratio: float, generator: torch.Generator) -> None:
        super().__init__(params)
        self._start_ratio, self.generator = ratio, generator

    def initial_masks(self, weights: Weights, layout: Layout) -> Masks:
        return random_masks(weights, budget_of(weights, layout, self._start_ratio, self._params), self.generator)
