"""Inner maximisations of an objective, recorded so that a batch's loss can be computed a second time on the same images.

A sharpness-aware method needs the gradient of the same loss at two points. The loss of a robust objective depends on
perturbations found by an inner maximisation: found anew at the second point they would change the loss, and cost as
much again as the step itself. What an objective draws at random is drawn alike the second time.

An objective that finds perturbations by itself, past `solve`, cannot be replayed, and is refused: see `record`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError

Replay = Callable[[Callable[[], Any]], Any]
SOLVE = "sparrow.training.inner_replay.solve"


@dataclass
class _Recording:
    """What happened since `record` was entered."""

    objective: str
    """The name of the objective whose loss it is, as an error gives it."""
    random: tuple[Tensor, list[Tensor]]
    """The states of torch's random numbers at its start, on the CPU and on each GPU."""
    solutions: list[Tensor] = field(default_factory=list)
    """What `solve` returned."""
    shown: list[Tensor] = field(default_factory=list)
    """The images that the network was given by the loss itself."""
    input_gradient: bool = False
    """Whether the loss itself gave the network images that a gradient was to be taken by."""


_recording: _Recording | None = None
_solutions: Iterator[Tensor] | None = None
"""While a replay runs: the recorded solutions that are left."""
_expected: Iterator[Tensor] | None = None
"""While a replay runs: the recorded images that the network has not been given again yet."""
_unrecorded = False


@contextmanager
def record(perturbs: bool = False, objective: str = "objective") -> Iterator[Replay]:
    """Record the perturbed images that `solve` returns. Yields `replay(function)`, which calls `function` again with `solve`
    giving the recorded images in order, and the random state as it was at the start.

    `replay` raises SparrowError, which begins with `objective`, if what was recorded cannot be had again: if a loss that
    `perturbs` never called `solve`, if it took a gradient by its input outside of `solve`, or if it gives the network other
    images than before. The last two are seen of networks that are `watched`. Recordings do not nest: an inner one ends the
    outer one.
    """
    global _recording
    random = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    _recording = _Recording(objective, random)
    try:
        yield partial(_replay, perturbs)
    finally:
        _recording = None


@contextmanager
def unrecorded() -> Iterator[None]:
    """While the context lasts, images that the network is given are no part of the loss, and may differ in a replay."""
    global _unrecorded
    before, _unrecorded = _unrecorded, True
    try:
        yield
    finally:
        _unrecorded = before


def solve(find: Callable[[], Tensor]) -> Tensor:
    """The perturbed images that `find()` returns; in a replay, those that it returned when it was recorded."""
    if _solutions is not None:
        return next(_solutions)
    with unrecorded():
        solution = find()
    if _recording is not None:
        _recording.solutions.append(solution)
    return solution


def found() -> list[Tensor]:
    """The perturbed images that `solve` has returned since `record` was entered, in order; none outside of it."""
    return list(_recording.solutions) if _recording is not None else []


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Note the images that `model` is given outside of `solve`; a replay that gives it others raises SparrowError."""

    def note(module: nn.Module, given: tuple, output: Tensor) -> None:
        if _unrecorded or _recording is None:
            return
        images = given[0]
        if _expected is None:
            _recording.input_gradient |= images.requires_grad
            _recording.shown.append(images.detach())
        # In their order; a bound that is set up once shows the network its own images the first time only.
        elif not any(torch.equal(before, images.detach()) for before in _expected):
            raise _refusal(_recording, "gives the network other images when a batch's loss is computed again")

    hook = model.register_forward_hook(note)
    try:
        yield
    finally:
        hook.remove()


def _replay(perturbs: bool, function: Callable[[], Any]) -> Any:
    global _solutions, _expected
    if _recording is not None and _recording.input_gradient:
        raise _refusal(_recording, f"takes a gradient by its input outside of {SOLVE}")
    if _recording is not None and perturbs and not _recording.solutions:
        raise _refusal(_recording, f"says that it perturbs images, and its loss has not called {SOLVE}")
    _solutions = iter(_recording.solutions if _recording else ())
    _expected = iter(list(_recording.shown) if _recording else ())
    try:
        with torch.random.fork_rng():
            if _recording is not None:
                torch.set_rng_state(_recording.random[0])
                torch.cuda.set_rng_state_all(_recording.random[1])
            return function()
    finally:
        _solutions = _expected = None


def _refusal(recording: _Recording, what: str) -> SparrowError:
    return SparrowError(
        f"{recording.objective}: {what}, and the method needs one loss at two points; valid: perturbed images that come "
        f"from {SOLVE}, or a method without (of S2AP, s2ap_gamma: 0)"
    )
