"""Inner maximisations of an objective, remembered so that a batch can be looked at twice.

A sharpness-aware method needs the gradient of the same loss at two points. The loss of a robust objective depends on
perturbations found by an inner maximisation: found anew at the second point they would change the loss, and cost as
much again as the step itself. What an objective draws at random is drawn alike the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_found: list[Tensor] | None = None
_random: tuple[Tensor, list[Tensor]] | None = None
_replaying: Iterator[Tensor] | None = None


@contextmanager
def solved_once() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Remember what `solve` finds while the context lasts; yields a function that calls another with the same solutions."""
    global _found, _random
    _found, _random = [], (torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])
    try:
        yield _replay
    finally:
        _found = _random = None


def solve(find: Callable[[], Tensor]) -> Tensor:
    """The perturbed images that `find` finds, or those it found before if they are being replayed."""
    if _replaying is not None:
        return next(_replaying)
    solution = find()
    if _found is not None:
        _found.append(solution)
    return solution


def _replay(function: Callable[[], Any]) -> Any:
    global _replaying
    _replaying = iter(_found or ())
    try:
        with torch.random.fork_rng():
            if _random:
                torch.set_rng_state(_random[0])
                torch.cuda.set_rng_state_all(_random[1])
            return function()
    finally:
        _replaying = None
