"""What a resume point saves of a training loop, and how the loop goes on from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sparrow.jobs import packing
from sparrow.jobs.resume_point import randomness, set_randomness


@dataclass
class LoopPosition:
    """How far the training loop has come; `TrainingState` saves its attributes."""

    epoch: int = 0
    """Epochs that have been trained and validated."""
    order: Tensor | None = None
    """Places (n,) of this epoch's images in the training part, in their order; None if the epoch has not begun."""
    batches: int = 0
    """Batches of this epoch that have been trained on."""
    total: Tensor | None = None
    """Sum of the losses of this epoch's images that have been trained on, a scalar on their device; None before the first
    epoch."""
    seen: int = 0
    """Images of this epoch that have been trained on."""
    step: int = 0
    """Optimisation steps taken, in all epochs."""
    lr: float = 0.0
    """Learning rate of the last step."""
    rows: list[tuple] = field(default_factory=list)
    """Rows of the learning curve, one an epoch."""


class Stateful(Protocol):
    """The loop's hooks, as far as a resume point is concerned."""

    def state_dict(self) -> dict[str, Any]:
        """Their state, by reference."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave."""


class TrainingState:
    """The training state that a resume point saves: model, optimised tensors, optimiser, random state, position, hooks."""

    def __init__(
        self,
        model: nn.Module,
        optimised: list[Tensor],
        optimiser: torch.optim.Optimizer | None,
        generator: torch.Generator,
        hooks: Stateful,
        position: LoopPosition,
    ) -> None:
        self._model, self._optimised, self._optimiser = model, optimised, optimiser
        self._generator, self._hooks, self._position = generator, hooks, position

    def pack(self, random: dict[str, Any] | None = None) -> list[packing.Packed]:
        """Two trees for a resume point, the loop's state and the hooks'; `random` replaces the random state as it is now."""
        own = self._tensors() | {
            "optimiser": self._optimiser.state_dict() if self._optimiser else None,
            "randomness": random or randomness(self._generator),
            "place": vars(self._position),
        }
        return [packing.pack(own), packing.pack(self._hooks.state_dict(), self._model)]

    def restore(self, packed: tuple[packing.Packed, ...]) -> None:
        """Set everything to what it was when `pack` returned `packed`."""
        own = packing.unpack(packed[0], self._tensors() | {"place": vars(self._position)})
        if self._optimiser:
            self._optimiser.load_state_dict(own["optimiser"])
        self._hooks.load_state_dict(packing.unpack(packed[1], self._hooks.state_dict(), self._model))
        set_randomness(own["randomness"], self._generator)

    def _tensors(self) -> dict[str, Any]:
        return {"model": self._model.state_dict(), "optimised": tuple(self._optimised)}
