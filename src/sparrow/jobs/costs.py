"""The cost of a job: seconds, peak memory and gradient evaluations.

A gradient evaluation is one backward pass of one sample through the network (or through its bounds): in training,
in an attack's inner steps, or in the optimisation of a bound.
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
from sparrow.jobs.no_gradient import without_gradient_named


@dataclass
class Meter:
    """A job's running time and its count of gradient evaluations."""

    gradient_evaluations: int = 0
    started: float = 0.0
    """`time.perf_counter()` at the job's start; of a resumed job, less the seconds that it had taken before."""

    def start(self) -> None:
        """Set both to zero."""
        self.count_from(0.0, 0)

    def so_far(self) -> dict[str, float]:
        """The job's cost until now, as arguments of `count_from`: `seconds` and `gradient_evaluations`."""
        return {"seconds": time.perf_counter() - self.started, "gradient_evaluations": self.gradient_evaluations}

    def count_from(self, seconds: float, gradient_evaluations: int) -> None:
        """Start at this cost instead of zero: a resumed job had it behind it."""
        self.started, self.gradient_evaluations = time.perf_counter() - seconds, gradient_evaluations

    def add(self, samples: int) -> None:
        """Count `samples` gradient evaluations."""
        self.gradient_evaluations += samples

    def watch(self, output: Tensor) -> Tensor:
        """Count `output.shape[0]` samples each time that a gradient flows back through `output` (n, ...)."""
        if output.requires_grad:
            samples = output.shape[0]
            output.register_hook(lambda gradient: self.add(samples))
        return output

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[Meter]:
        """While the context is active, `watch` the output of every forward pass of `model`."""
        hook = model.register_forward_hook(lambda module, inputs, output: self.watch(output))
        try:
            yield self
        finally:
            hook.remove()


METER = Meter()
"""The process's own meter: one job, one process, one meter."""


@contextmanager
def record_cost(path: Path) -> Iterator[dict[str, float]]:
    """Write the cost of the context's body to `path` (JSON) when it ends without error or with a NetworkError.

    Torch's error about a network that hands no gradient back becomes one here, before the cost is written.
    Yields a dict: further figures put there are written beside seconds, peak_memory_mb and gradient_evaluations.
    """
    METER.start()
    also: dict[str, float] = {}
    try:
        with without_gradient_named():
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
