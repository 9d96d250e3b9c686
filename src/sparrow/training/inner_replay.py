"""Inner maximisations of an objective, remembered so that a batch can be looked at twice.

A sharpness-aware method needs the gradient of the same loss at two points. The loss of a robust objective depends on
perturbations found by an inner maximisation: found anew at the second point they would change the loss, and cost as
much again as the step itself. What an objective draws at random is drawn alike the second time. An objective that finds
perturbations by itself, past `solve`, is found out by what it shows the network the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError

_found: list[Tensor] | None = None
_random: tuple[Tensor, list[Tensor]] | None = None
_replaying: Iterator[Tensor] | None = None
_shown: list[Tensor] = []
_showing: Iterator[Tensor] | None = None
_solving = False


@contextmanager
def solved_once() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Remember what `solve` finds while the context lasts; yields a function that calls another with the same solutions."""
    global _found, _random
    _shown.clear()
    _found, _random = [], (torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])
    try:
        yield _replay
    finally:
        _found = _random = None
        _shown.clear()


@contextmanager
def aside() -> Iterator[None]:
    """What the network is shown while the context lasts is no part of the loss, and may differ from one time to the next."""
    global _solving
    before, _solving = _solving, True
    try:
        yield
    finally:
        _solving = before


def solve(find: Callable[[], Tensor]) -> Tensor:
    """The perturbed images that `find` finds, or those it found before if they are being replayed."""
    if _replaying is not None:
        return next(_replaying)
    with aside():
        solution = find()
    if _found is not None:
        _found.append(solution)
    return solution


@contextmanager
def watching(model: nn.Module) -> Iterator[None]:
    """Note what `model` is shown outside of `solve`; a replay that shows it other images raises SparrowError."""

    def look(module: nn.Module, given: tuple, output: Tensor) -> None:
        if _solving or _found is None:
            return
        if _showing is None:
            _shown.append(given[0].detach())
        # In their order; a bound that is set up once shows the network its own images the first time only.
        elif not any(torch.equal(before, given[0].detach()) for before in _showing):
            raise SparrowError(
                "objective: shows the network other images when a batch is looked at again (s2ap_gamma); "
                "valid: perturbations found through sparrow.training.inner_replay.solve, or s2ap_gamma: 0"
            )

    hook = model.register_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()


def _replay(function: Callable[[], Any]) -> Any:
    global _replaying, _showing
    _replaying, _showing = iter(_found or ()), iter(list(_shown))
    try:
        with torch.random.fork_rng():
            if _random:
                torch.set_rng_state(_random[0])
                torch.cuda.set_rng_state_all(_random[1])
            return function()
    finally:
        _replaying = _showing = None
