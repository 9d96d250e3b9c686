"""Batches that do not fit into memory are halved and tried again, not lost; a limit of one's own keeps the machine's away."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrow.jobs.journal import compute_once

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

        _pay_in_advance()
        before = resource.getrlimit(resource.RLIMIT_DATA)
        ours = _data_bytes() + megabytes * 2**20
        others = [limit for limit in before if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([ours, *others]), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)
    else:
        yield


def _pay_in_advance() -> None:
    """What bounds import on their way would break half-imported, if memory ran out there; and freed tensors are to be free."""
    import ctypes
    import importlib

    from sparrow.verification.auto_lirpa_bridge import auto_lirpa

    auto_lirpa()
    for name in ("torch._dynamo", "scipy.optimize", "torchattacks"):
        importlib.import_module(name)
    with contextlib.suppress(AttributeError):  # Other C libraries than glibc have no such option.
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**17)


def _data_bytes() -> int:
    """What the limit on data counts: private memory that can be written to."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 2**10
    return 0


M_MMAP_THRESHOLD = -3
"""An option of glibc: blocks larger than this go back to the system when they are freed, instead of littering the heap."""


def in_parts(
    work: Callable[[Tensor], Any], accept: Callable[[Tensor, Any], None], indices: Tensor, size: int, what: str
) -> None:
    """Do `work` on `indices` (n,), at most `size` at a time, and `accept` what it gives; half as many where memory runs out.

    `work` must leave nothing behind where it fails, and give plain values and tensors, which an open journal keeps. One
    index for which memory runs out alone is left out, and said so.
    """
    todo = list(indices.split(size)) if len(indices) else []
    while todo:
        part = todo.pop(0)
        # What did not fit is kept, too: in a job that goes on it might fit, and be rounded another way.
        done = compute_once(f"{what} {part.tolist()}", lambda part=part: _attempt(work, part))
        if done is not None:
            accept(part, done[0])
            continue
        # Here the failed attempt's tensors are no longer held by the exception.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(part) == 1:
            print(f"{what}: an image does not fit into memory alone and stays undecided; raise memory_mb", flush=True)
            continue
        print(f"{what}: {len(part)} images do not fit into memory; trying {(len(part) + 1) // 2}", flush=True)
        todo = [*part.split((len(part) + 1) // 2), *todo]


def _attempt(work: Callable[[Tensor], Any], part: Tensor) -> tuple[Any] | None:
    """What `work` gives on `part` (n,); None if memory runs out."""
    try:
        return (work(part),)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError.
        if not exhausted(error):
            raise
    return None


def exhausted(error: Exception) -> bool:
    """Whether an error says that there is no more memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error).lower() for words in EXHAUSTED)
