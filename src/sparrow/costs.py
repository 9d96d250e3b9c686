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


@dataclass
class Meter:
    """Counts gradient evaluations."""

    gradient_evaluations: int = 0

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
    METER.gradient_evaluations = 0
    also: dict[str, float] = {}
    start = time.perf_counter()
    try:
        yield also
    except NetworkError:
        _write(path, start, also)
        raise
    _write(path, start, also)


def _write(path: Path, start: float, also: dict[str, float]) -> None:
    cost = {
        "seconds": round(time.perf_counter() - start, 3),
        "peak_memory_mb": round(_peak_memory_mb(), 1),
        "gradient_evaluations": METER.gradient_evaluations,
        **also,
    }
    path.write_text(json.dumps(cost) + "\n")


def _peak_memory_mb() -> float:
    """Peak resident memory of this process, or of the GPU where one is used, in MiB."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Bytes there, KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
