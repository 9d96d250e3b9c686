"""The one protocol of all pruning methods: hooks of the training loop, from weights to masks.

`weights` is always the same dict: name to parameter of every prunable tensor (convolutions' and linear layers' weights;
never biases or norms), in the network's order, *in place* in an ordinary network. A method that learns returns the
tensors that it optimises from `start`; the loop then trains for the study's pruning schedule:

    for each batch:  loss.backward()  ->  after_backward  ->  optimiser step  ->  after_step

and `end` returns the masks. A method that does not learn skips the loop. The caller applies the masks.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Weights = dict[str, Tensor]
Masks = dict[str, Tensor]


class Pruner:
    """A method that prunes at once, unless it overrides the hooks."""

    trains_norms = False
    """Whether batch norm's parameters go on learning while the method learns."""

    def start(self, weights: Weights) -> list[Tensor]:
        """Called once with the dense weights. Returns the tensors to optimise, none for a method that does not learn."""
        return []

    def after_backward(self, weights: Weights) -> None:
        """The loss's gradients are in `weights[name].grad`; give those of your own tensors."""

    def after_step(self, weights: Weights) -> None:
        """Your tensors have moved; put the effective weights in place."""

    def end(self, weights: Weights) -> Masks:
        """The masks: bool tensors, True where a weight is kept. What remains in `weights` are the values kept."""
        raise NotImplementedError


class OneShot(Pruner):
    """Prunes by a pure function of the weights."""

    def __init__(self, masks: Callable[[Weights], Masks]) -> None:
        self._masks = masks

    def end(self, weights: Weights) -> Masks:
        return self._masks(weights)
