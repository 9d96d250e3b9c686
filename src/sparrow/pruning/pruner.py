"""The one protocol of all pruning methods: hooks of the training loop, from weights to masks.

`weights` is always the same dict: name to parameter of every prunable tensor (convolutions' and linear layers' weights;
never biases or norms), in the network's order, *in place* in an ordinary network. A method that needs a
schedule (see `sparrow.pruning.params.Method.needs`) is given the study's, `training.prune` or what its `schedule` makes of it:

    for each batch:  loss -> backward -> after_backward -> optimiser step -> after_step
    for each epoch:  epoch -> trace -> finished

and `end` returns the masks. A method that needs a few batches has the same loop for as many steps as its `steps_of` says, of a
network that stays as it is; one that needs nothing skips the loop. The caller applies the masks.

A job that was killed goes on where it stopped: `start` is called again, then `load_state_dict` is given what `state_dict` had
returned. By default that is every attribute. So keep your state in attributes made of numbers, strings, whole tensors, copies
of the network, and lists, tuples, sets and dicts of these; what never changes may derive from `RebuiltOnResume`. With
anything else in it no resume point is written, so that a killed job starts anew, and its log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.networks.structure import Layout
from sparrow.settings import Threat
from sparrow.training.loop import CurveRow, Step

Weights = Mapping[str, Tensor]
Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """What a pruner may compute the loss of one step from."""

    model: nn.Module
    """The network with its effective weights in place."""
    images: Tensor
    labels: Tensor
    threat: Threat | None
    """The threat of a method whose parameters have an `eps`; of no other."""
    objective: Callable[[], Tensor]
    """Computes the study's objective on this batch, a scalar, whatever it is."""


class Pruner:
    """A method's part in the loop; `end` has to be overridden, the other hooks may be."""

    others: Literal["frozen", "statistics", "norms", "all"] = "norms"
    """Which of the network's other parameters learn along a schedule: none, batch norm's (`norms`), or all. Of those with none,
    `statistics` lets batch norm's running statistics follow the network, and `frozen` does not. Where a method needs batches
    alone, all are frozen."""
    budget: Literal["weights", "filters", "multiply-adds"] = "weights"
    """What the pruning ratio is a share of."""
    network: nn.Module
    """The whole network, in which `weights` are; set before `start`."""

    def __init_subclass__(cls) -> None:
        """Raises SparrowError for a hook of before, which nothing would call."""
        if "enough" in vars(cls):
            raise SparrowError(
                f"{cls.__module__}: its pruner defines `enough`, which nothing calls; valid: `steps_of` in the class Params"
            )

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        """The tensors to optimise; none, for a method that needs no schedule. Called once, with the weights to prune."""
        return []

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise. Where nothing is optimised it need not have a gradient."""
        return batch.objective()

    def after_backward(self, weights: Weights, step: Step) -> None:
        """Called with the loss's gradients in `weights[name].grad`: set the `grad` of your own tensors."""

    def after_step(self, weights: Weights, step: Step) -> None:
        """Called when the optimiser has moved your tensors: put the effective weights in place."""

    def epoch(self, row: CurveRow) -> None:
        """Called after an epoch's validation, with its row of the learning curve; before `trace`."""

    def trace(self) -> dict[str, float]:
        """Your own quantities at the end of an epoch, by name: they are written beside the learning curve."""
        return {}

    def finished(self) -> bool:
        """Whether the search is over, asked at the end of each epoch: what is left of its steps is not taken."""
        return False

    def end(self, weights: Weights) -> Masks:
        """The masks by weight's name: bool tensors, True where a weight is kept. `weights` must hold the values to keep."""
        raise NotImplementedError

    def warning(self) -> str | None:
        """What users have to know of the masks that `end` gave, as a sentence without a full stop; None if nothing."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a resume point saves of this pruner, by reference: all attributes."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` had returned; called after `start`, whose tensors hold the saved values by then."""
        vars(self).clear()
        vars(self).update(state)


def gradient_of(tensor: Tensor) -> Tensor:
    """The gradient of a tensor that a loss depends on, whose backward pass is done."""
    assert tensor.grad is not None
    return tensor.grad
