"""Resume points: the state of a long job, saved beside its output at intervals, from which a killed job continues.

The final bytes are those of a job that nobody stopped. A resume point belongs to one job of one study: with another
configuration, code, input, version of a package, device or number of threads it is ignored and replaced. It is removed
once the job has ended well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sparrow.errors import NetworkError, SparrowError, StorageError
from sparrow.files.atomic import remove_partial_files, replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import sha256
from sparrow.files.paths import RESUME
from sparrow.jobs import interruption, packing
from sparrow.jobs.costs import METER
from sparrow.reproducible import pick_device, software_and_device

FORMAT = "sparrow-resume/2"
VARIABLE = "SPARROW_RESUME_SECONDS"
SECONDS = 60.0
"""Least time between two resume points of a job, unless `SPARROW_RESUME_SECONDS` says otherwise."""
SHARE = 0.05
"""Largest share of a job's time that goes into writing resume points."""


class ResumePoint:
    """The resume point of one job: its file, and the time when the next one is due."""

    def __init__(self, output: Path, spec: dict[str, Any], inputs: list[Path]) -> None:
        self.path = output.with_suffix(RESUME)
        self._spec, self._inputs = spec, inputs
        self._seconds = _interval()
        self._next = time.monotonic() + self._seconds
        self._identity: str | None = None
        self._off = False

    def load(self) -> tuple[packing.Packed, ...] | None:
        """The trees that `save` was given, and METER set to the cost of then; None if there is no resume point of this job.

        Its log says which of damaged and of another job a file is that is ignored.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("sparrow", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError, ValueError):
            about, tensors = {}, {}
        if not isinstance(about, dict) or about.get("format") != FORMAT or about.pop("check", None) != _check(about, tensors):
            print(f"{self.path}: damaged; starting anew")
            return None
        if about["identity"] != self._who():
            print(f"{self.path}: of another configuration, code, input, version or machine; starting anew")
            return None
        METER.count_from(**about["cost"])
        print(f"going on from {self.path}, {about['cost']['seconds']:.0f} s into the job")
        return tuple(
            (tree, {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{place}/")})
            for place, tree in enumerate(about["trees"])
        )

    def save_if_due(self, trees: Callable[[], list[packing.Packed]], cost: dict[str, float] | None = None) -> None:
        """Save what `trees` returns if that is due. Raises Interrupted, after saving, if a signal asked the job to end.

        `cost` is METER's at the moment of that state; now, if None.
        """
        if interruption.requested() or time.monotonic() >= self._next:
            self.save(trees, cost)
        interruption.raise_if_requested()

    def save(self, trees: Callable[[], list[packing.Packed]], cost: dict[str, float] | None = None) -> None:
        """Write a resume point. If it cannot be written, the job goes on without one, and its log says why."""
        if self._off:
            return
        start = time.monotonic()
        try:
            self._write(trees(), cost or METER.so_far())
        except packing.NotPlainError as error:
            print(f"no resume points: there is a {error} in the state of the job, which cannot be written down")
            self._off = True
        except StorageError as error:
            print(f"warning: no resume point: {error.path}: {error.reason}")
        except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError.
            print(f"warning: no resume point: {' '.join(str(error).split())}")
        end = time.monotonic()
        self._next = end + max(self._seconds, (end - start) / SHARE)

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)
        remove_partial_files(self.path)

    def _write(self, trees: list[packing.Packed], cost: dict[str, float]) -> None:
        about = {"format": FORMAT, "identity": self._who(), "cost": cost, "trees": [tree for tree, _ in trees]}
        tensors = {f"{place}/{name}": tensor for place, (_, part) in enumerate(trees) for name, tensor in part.items()}
        with replacing(self.path) as partial:
            save_file(tensors, partial, {"sparrow": json.dumps(about | {"check": _check(about, tensors)})})

    def _who(self) -> str:
        if self._identity is None:
            whole = {
                "spec": self._spec,
                "inputs": [sha256(path) for path in self._inputs],
                "threads": torch.get_num_threads(),
                **software_and_device(pick_device()),
            }
            self._identity = hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()
        return self._identity


def _check(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all that a resume point holds, so that a damaged one is not loaded."""
    # As it will be read: JSON makes lists of tuples.
    text = json.dumps(json.loads(json.dumps(about)), sort_keys=True)
    return hashlib.sha256(f"{text}\n{content_digest(sorted(tensors.items()))}".encode()).hexdigest()


def _interval() -> float:
    """Least seconds between two resume points. Raises SparrowError."""
    given = os.environ.get(VARIABLE) or str(SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SparrowError(f"{VARIABLE}: {given!r} is no number of seconds; valid: 0 or more")
    return seconds


@contextlib.contextmanager
def resumable(output: Path, spec: dict[str, Any], *inputs: Path) -> Iterator[ResumePoint]:
    """Yield the resume point of the job that makes `output` from `inputs` under `spec`; at the end it is removed.

    It stays if the job fails, unless with a NetworkError: the same network would fail again.
    """
    point = ResumePoint(output, spec, list(inputs))
    try:
        yield point
    except NetworkError:
        point.remove()
        raise
    # From here on the job counts as done.
    interruption.ignore_signals()
    point.remove()


def randomness(generator: torch.Generator) -> dict[str, Any]:
    """The state of every source of random numbers that a job draws from, and of its own `generator`."""
    return {
        "own": generator.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": random.getstate(),
        "numpy": [item.tolist() if isinstance(item, np.ndarray) else item for item in np.random.get_state()],
    }


def set_randomness(found: dict[str, Any], generator: torch.Generator) -> None:
    """Set every source of random numbers, and `generator`, to the state that `randomness` returned."""
    generator.set_state(found["own"])
    torch.set_rng_state(found["torch"])
    if found["cuda"] is not None:
        torch.cuda.set_rng_state(found["cuda"])
    random.setstate(found["python"])
    np.random.set_state(tuple(found["numpy"]))
