"""Hooks of the training loop that train under rounding."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sparrow.networks.prunable import prunable_weights
from sparrow.networks.rounding import rounded
from sparrow.stages._held_masks import HeldMasks
from sparrow.training.loop import Step


class StraightThrough(HeldMasks):
    """Hooks that hold masks, and have a network compute with rounded weights while those learn that they are rounded from.

    `bits` has those of each prunable weight. The straight-through estimator takes the gradient at a rounded weight for that at
    the weight behind it.
    """

    def __init__(self, model: nn.Module, masks: dict[str, Tensor], bits: Mapping[str, int]) -> None:
        super().__init__(model, masks)
        self._bits, self._shown = bits, prunable_weights(model)
        self._behind = {name: weight.detach().clone() for name, weight in self._shown.items()}
        self._others = [parameter for name, parameter in model.named_parameters() if name not in self._shown]
        self._round()

    @property
    def learning(self) -> list[Tensor]:
        """What the optimiser is to have: the weights behind the rounded ones, biases, norms and lines."""
        return [*self._behind.values(), *self._others]

    def after_backward(self, step: Step) -> None:
        super().after_backward(step)
        for name, behind in self._behind.items():
            behind.grad = self._shown[name].grad

    def after_step(self, step: Step) -> None:
        super().after_step(step)
        self._round()

    def _round(self) -> None:
        for name, behind in self._behind.items():
            self._shown[name].data.copy_(rounded(behind, self._bits[name]))
