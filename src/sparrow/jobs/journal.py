"""What an evaluation has finished, batch by batch: a job that goes on does not do it again.

One journal is open in a job at a time, since finished work comes from deep inside: a cascade's bounds, a search's images.
The job runs as if from the start, and what the journal knows is looked up instead of computed.
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
def kept(resume: ResumePoint, generator: torch.Generator) -> Iterator[None]:
    """Keep what `once` finds at the resume point, now and then and when the job is told to end.

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


def once(key: str, compute: Callable[[], Any]) -> Any:
    """What `compute` gave the last time that the job came here with this key; computed, if it has not been here.

    The same key means something else inside of another `once`.
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
        content = packing.put(loaded[0]) if loaded else {"found": {}, "randomness": randomness(generator)}
        self._found, self._random = content["found"], content["randomness"]
        self._cost = METER.so_far()
        self._new = False
        self._keys = [""]

    @contextmanager
    def within(self, key: str) -> Iterator[str]:
        # A digest, since keys hold the indices of whole batches.
        self._keys.append(hashlib.sha256(f"{self._keys[-1]} > {key}".encode()).hexdigest()[:32])
        try:
            yield self._keys[-1]
        finally:
            self._keys.pop()

    def recall(self, key: str) -> tuple[bool, Any]:
        known = key in self._found
        if known:
            # What comes next has to draw what it would have drawn.
            set_randomness(self._random, self._generator)
        return known, self._found.get(key)

    def keep(self, key: str, value: Any) -> None:
        with interruption.deferred():
            self._found[key], self._random, self._cost = value, randomness(self._generator), METER.so_far()
            self._new = True
            self._resume.offer(self._pack, self._cost)
        interruption.give_way()  # What came while it was being written.

    def save(self) -> None:
        if self._new:
            self._resume.save(self._pack, self._cost)

    def _pack(self) -> list[packing.Packed]:
        return [packing.pack({"found": self._found, "randomness": self._random})]
