"""Batches that do not fit into memory are halved and tried again, not lost; a limit of one's own keeps the machine's away."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from sparrow.errors import SparrowError

EXHAUSTED = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "could not create a memory",
    "could not create a primitive",
)
EXHAUSTED += ("bad_alloc",)


@contextlib.contextmanager
def limited(megabytes: int | None) -> Iterator[None]:
    """Let this process take at most `megabytes` (MiB) more memory than it has, of the GPU where one is used.

    What goes beyond fails as if there were no more. Without effect on the CPU of systems other than Linux.
    """
    if megabytes is None:
        yield
    elif torch.cuda.is_available() and torch.cuda.is_initialized():
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + megabytes * 2**20) / total))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    elif sys.platform == "linux":
        import resource

        before = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + megabytes * 2**20, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)
    else:
        yield


def _data_bytes() -> int:
    """What the limit on data counts: private memory that can be written to."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 2**10
    return 0


def in_parts(work: Callable[[Tensor], None], indices: Tensor, size: int, what: str) -> None:
    """Do `work` on `indices` (n,), at most `size` at a time; where memory runs out, on half as many.

    `work` must leave nothing behind where it fails. Raises SparrowError if memory runs out on a single one.
    """
    todo = list(indices.split(size)) if len(indices) else []
    while todo:
        part = todo.pop(0)
        try:
            work(part)
            continue
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError.
            if not exhausted(error):
                raise
            if len(part) == 1:
                raise SparrowError(
                    f"{what}: memory runs out on a single image; raise memory_mb, or leave this bound out"
                ) from None
        # Here the failed attempt's tensors are no longer held by the exception.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{what}: {len(part)} images do not fit into memory; trying {(len(part) + 1) // 2}", flush=True)
        todo = [*part.split((len(part) + 1) // 2), *todo]


def exhausted(error: Exception) -> bool:
    """Whether an error says that there is no more memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error).lower() for words in EXHAUSTED)
