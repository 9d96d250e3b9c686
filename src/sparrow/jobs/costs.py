"""What a job cost: seconds, peak memory and gradient evaluations.

A gradient evaluation is one backward pass of one sample through the network (or through its bounds), whoever asked for
it: training, an attack's inner steps, or the optimisation of a bound.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.files.atomic import replacing


@dataclass
class Meter:
    """Counts gradient evaluations."""

    gradient_evaluations: int = 0
    started: float = 0.0
    """When the job began, as `time.perf_counter` has it; earlier by what it had taken before it was resumed."""

    def start(self) -> None:
        self.go_on(0.0, 0)

    def so_far(self) -> dict[str, float]:
        """What the job has cost until now: to go on from, in another process."""
        return {"seconds": time.perf_counter() - self.started, "gradient_evaluations": self.gradient_evaluations}

    def go_on(self, seconds: float, gradient_evaluations: int) -> None:
        """Count on from there."""
        self.started, self.gradient_evaluations = time.perf_counter() - seconds, gradient_evaluations

    def add(self, samples: int) -> None:
        self.gradient_evaluations += samples

    def watch(self, output: Tensor) -> Tensor:
        """Count `output.shape[0]` samples each time that a gradient flows back through `output` (n, ...)."""
        if output.requires_grad:
            samples = output.shape[0]
            output.register_hook(lambda gradient: self.add(samples))
        return output

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[Meter]:
        """Watch the logits of every forward pass of `model` while the context lasts."""
        hook = model.register_forward_hook(lambda module, inputs, output: self.watch(output))
        try:
            yield self
        finally:
            hook.remove()


METER = Meter()
"""The process's own meter: one job, one process, one meter."""


@contextmanager
def measured(path: Path) -> Iterator[dict[str, float]]:
    """Write the cost of what runs inside to `path` (JSON), if it succeeds or the network is at fault.

    Yields a dict for whatever else was measured.
    """
    METER.start()
    also: dict[str, float] = {}
    try:
        yield also
    except NetworkError:
        _write(path, also)
        raise
    _write(path, also)


def _write(path: Path, also: dict[str, float]) -> None:
    spent = METER.so_far()
    cost = {
        "seconds": round(spent["seconds"], 3),
        "peak_memory_mb": round(_peak_memory_mb(), 1),
        "gradient_evaluations": spent["gradient_evaluations"],
        **also,
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(cost) + "\n")


def _peak_memory_mb() -> float:
    """Peak resident memory of this process, or of the GPU where one is used, in MiB."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Bytes there, KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
