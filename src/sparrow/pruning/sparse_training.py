"""Methods that train the initial network and keep a mask meanwhile: what is outside is zero after each step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.networks.prunable import norm_layers
from sparrow.networks.structure import Layout
from sparrow.pruning.held_weights import hold, hold_gradients
from sparrow.pruning.params import FromScratch
from sparrow.pruning.pruner import Masks, Pruner, Weights
from sparrow.training.loop import Step


class SparseTraining(Pruner):
    """A pruner that trains under masks from its first step on; a method says with which it begins, and how they change.

    Only what is inside the masks has a gradient when the optimiser moves, so that momentum forgets a dropped weight by itself.
    """

    others = "all"
    masks: Masks
    """What is kept now, by weight's name."""

    def __init__(self, params: FromScratch) -> None:
        self._params = params

    def initial_masks(self, weights: Weights, layout: Layout) -> Masks:
        """The masks that training begins with."""
        raise NotImplementedError

    def seen(self, weights: Weights, step: Step) -> None:
        """Called with the dense gradients of a batch in `weights[name].grad`, also of what is outside the masks."""

    def change(self, weights: Weights, step: Step) -> None:
        """Called after each step, with zeros outside the masks: change `self.masks`, and what grows begins at zero."""

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self.masks = self.initial_masks(weights, layout)
        rescale = self._params.rescale
        if not norm_layers(self.network) if rescale is None else rescale:
            rescale_to_density(weights, self.masks)
        hold(weights, self.masks)
        return list(weights.values())

    def after_backward(self, weights: Weights, step: Step) -> None:
        self.seen(weights, step)
        hold_gradients(weights, self.masks)

    def after_step(self, weights: Weights, step: Step) -> None:
        hold(weights, self.masks)
        self.change(weights, step)
        hold(weights, self.masks)

    def end(self, weights: Weights) -> Masks:
        return self.masks


@torch.no_grad()
def rescale_to_density(weights: Weights, masks: Mapping[str, Tensor]) -> None:
    """Multiply the weights of each layer by `density ** -0.5`, in place: the variance of a layer with so few inputs."""
    for name, mask in masks.items():
        density = mask.double().mean().item()
        if density:
            weights[name].mul_(density**-0.5)
