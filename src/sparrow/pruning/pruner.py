"""The one protocol of all pruning methods: hooks of the training loop, from weights to masks.

`weights` is always the same dict: name to parameter of every prunable tensor (convolutions' and linear layers' weights;
never biases or norms), in the network's order, *in place* in an ordinary network. A method that trains (see
`sparrow.pruning.params.Method.trains`) is given the study's pruning schedule:

    for each batch:  loss -> backward -> after_backward -> optimiser step -> after_step
    for each epoch:  trace

and `end` returns the masks. A method that does not train skips the loop. The caller applies the masks.

A job that was killed goes on where it stopped: `start` is called again, then your attributes are put back as they were. So
keep your state in attributes made of numbers, strings, whole tensors, copies of the network, and lists, tuples, sets and dicts
of these; what never changes may derive from `RebuiltOnResume`. With anything else in them the job starts anew, and its log
says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sparrow.networks.structure import Layout
from sparrow.settings import Threat
from sparrow.training.loop import Step

Weights = dict[str, Tensor]
Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """What the loss of one step is made of."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    threat: Threat | None
    """The threat of a method whose parameters have an `eps`; of no other."""
    objective: Callable[[], Tensor]
    """The study's objective on this batch, whatever it is."""


class Pruner:
    """A method that prunes at once, unless it overrides the hooks."""

    others: Literal["frozen", "norms", "all"] = "norms"
    """Which of the network's other parameters learn while the method trains: none, batch norm's, or all."""
    budget: Literal["weights", "filters", "multiply-adds"] = "weights"
    """What the pruning ratio is a share of."""

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        """Called once with the dense weights. Returns the tensors to optimise; none for a method that does not train."""
        return []

    def loss(self, batch: Batch) -> Tensor:
        """What to minimise."""
        return batch.objective()

    def after_backward(self, weights: Weights, step: Step) -> None:
        """The loss's gradients are in `weights[name].grad`; give those of your own tensors."""

    def after_step(self, weights: Weights, step: Step) -> None:
        """Your tensors have moved; put the effective weights in place."""

    def enough(self) -> bool:
        """Whether training may stop before the schedule's end."""
        return False

    def trace(self) -> dict[str, float]:
        """Your own quantities at the end of an epoch, by name: they are written beside the learning curve."""
        return {}

    def end(self, weights: Weights) -> Masks:
        """The masks: bool tensors, True where a weight is kept. What remains in `weights` are the values kept."""
        raise NotImplementedError

    def warning(self) -> str | None:
        """What users have to know of the masks that `end` gave, as a sentence without a full stop; None if nothing."""
        return None
