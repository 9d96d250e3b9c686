"""Hooks of the training loop that hold masks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sparrow.training.loop import Hooks, Step


class HeldMasks(Hooks):
    """Hooks that hold pruned weights at zero, and keep their gradients out of the gradient's norm.

    `minimised(objective, images, labels)` is what is minimised in the place of the objective, if it is given.
    """

    def __init__(self, model: nn.Module, masks: dict[str, Tensor], minimised: Callable[..., Tensor] | None = None) -> None:
        parameters = dict(model.named_parameters())
        # A network that was cut has no more to hold, but for a layer that lost all of its filters.
        self._pairs = [(parameters[name], mask) for name, mask in masks.items() if not mask.all()]
        self._minimised = minimised

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return objective() if self._minimised is None else self._minimised(objective, images, labels)

    def after_backward(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    def after_step(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            parameter.data.mul_(mask)
