"""The finished batches of an evaluation, so that a job that continues does not compute them again.

One journal is open in a job at a time, since finished work comes from deep inside: a cascade's bounds, a search's images.
A resumed job runs from its start; results that the journal holds are taken from there instead of computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sparrow.jobs import interruption, packing
from sparrow.jobs.costs import METER
from sparrow.jobs.resume_point import ResumePoint, randomness, set_randomness

_open: _Journal | None = None


@contextmanager
def open_journal(resume: ResumePoint, generator: torch.Generator) -> Iterator[None]:
    """While the context is active, save the results of `compute_once` to `resume` when that is due, and on Interrupted.

    `generator` is one that the job draws from besides torch's own.
    """
    global _open
    _open = _Journal(resume, generator)
    try:
        yield
    except interruption.Interrupted:
        with interruption.deferred():
            _open.save()
        raise
    finally:
        _open = None


def compute_once(key: str, compute: Callable[[], Any]) -> Any:
    """The result that the open journal holds under `key`; else that of `compute()`, which the journal then keeps.

    Calls nest: inside another `compute_once`, keys belong to the outer key. Without an open journal, `compute()`.
    """
    if _open is None:
        return compute()
    with _open.within(key) as path:
        known, value = _open.recall(path)
        if not known:
            value = compute()
            _open.keep(path, value)
    return value


class _Journal:
    def __init__(self, resume: ResumePoint, generator: torch.Generator) -> None:
        self._resume, self._generator = resume, generator
        loaded = resume.load()
        content = packing.unpack(loaded[0]) if loaded else {"found": {}, "randomness": randomness(generator)}
        self._found, self._random = content["found"], content["randomness"]
        self._cost = METER.so_far()
        self._new = False
        self._keys = [""]

    @contextmanager
    def within(self, key: str) -> Iterator[str]:
        """Yield the digest of `key` below the keys of the surrounding contexts."""
        # A digest, since keys hold the indices of whole batches.
        self._keys.append(hashlib.sha256(f"{self._keys[-1]} > {key}".encode()).hexdigest()[:32])
        try:
            yield self._keys[-1]
        finally:
            self._keys.pop()

    def recall(self, key: str) -> tuple[bool, Any]:
        """Whether there is a result under `key`, and the result; if so, sets the random state of after the last result."""
        known = key in self._found
        if known:
            # What is computed next has to draw the random numbers that it would have drawn.
            set_randomness(self._random, self._generator)
        return known, self._found.get(key)

    def keep(self, key: str, value: Any) -> None:
        """Add a result, and save the journal if that is due. Raises Interrupted."""
        with interruption.deferred():
            self._found[key], self._random, self._cost = value, randomness(self._generator), METER.so_far()
            self._new = True
            self._resume.save_if_due(self._pack, self._cost)
        interruption.raise_if_requested()  # A signal that arrived during the writing.

    def save(self) -> None:
        """Save the journal if it has results that the job computed itself."""
        if self._new:
            self._resume.save(self._pack, self._cost)

    def _pack(self) -> list[packing.Packed]:
        return [packing.pack({"found": self._found, "randomness": self._random})]
