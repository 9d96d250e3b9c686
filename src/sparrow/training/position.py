"""How far training has come, and the way back there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sparrow.jobs import packing
from sparrow.jobs.resume_point import randomness, set_randomness


@dataclass
class Place:
    """Where the loop is."""

    epoch: int = 0
    order: Tensor | None = None
    """The order of this epoch's images; None if it has not begun."""
    batches: int = 0
    """Batches of this epoch that are done."""
    total: Tensor | None = None
    """Sum of their images' losses."""
    seen: int = 0
    """Their images."""
    step: int = 0
    """Steps taken, in all epochs."""
    lr: float = 0.0
    rows: list[tuple] = field(default_factory=list)


class Stateful(Protocol):
    """The loop's hooks, as far as they matter here."""

    def state(self) -> dict[str, Any]:
        """What they have in mind, by reference."""


class Everything:
    """All that the steps to come depend on."""

    def __init__(
        self,
        model: nn.Module,
        optimised: list[Tensor],
        optimiser: torch.optim.Optimizer | None,
        generator: torch.Generator,
        hooks: Stateful,
        place: Place,
    ) -> None:
        self._model, self._optimised, self._optimiser = model, optimised, optimiser
        self._generator, self._hooks, self._place = generator, hooks, place

    def pack(self, random: dict[str, Any] | None = None) -> list[packing.Packed]:
        """The loop's own state, and the hooks'; `random` in place of the random state as it is now."""
        own = self._tensors() | {
            "optimiser": self._optimiser.state_dict() if self._optimiser else None,
            "randomness": random or randomness(self._generator),
            "place": vars(self._place),
        }
        return [packing.pack(own), packing.pack(self._hooks.state(), self._model)]

    def put(self, packed: tuple[packing.Packed, ...]) -> None:
        """Go back to where `pack` was called."""
        own = packing.unpack(packed[0], self._tensors() | {"place": vars(self._place)})
        if self._optimiser:
            self._optimiser.load_state_dict(own["optimiser"])
        packing.unpack(packed[1], self._hooks.state(), self._model)
        set_randomness(own["randomness"], self._generator)

    def _tensors(self) -> dict[str, Any]:
        return {"model": self._model.state_dict(), "optimised": tuple(self._optimised)}
