"""Hooks of the training loop that hold masks."""

from __future__ import annotations

from torch import Tensor, nn

from sparrow.training.loop import Hooks, Step


class HeldMasks(Hooks):
    """Hooks that hold pruned weights at zero, and keep their gradients out of the gradient's norm."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self._pairs = [(parameters[name], mask) for name, mask in masks.items()]

    def after_backward(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    def after_step(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            parameter.data.mul_(mask)
