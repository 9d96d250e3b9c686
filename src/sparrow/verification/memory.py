"""Work in batches that are halved where memory runs out, and a limit on memory below the machine's."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.jobs.journal import compute_once

OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "could not create a memory",
    "could not create a primitive",
    "bad_alloc",
)


@contextlib.contextmanager
def memory_limited(megabytes: int | None) -> Iterator[None]:
    """While the context is active, this process may use at most `megabytes` (MiB) more memory than now: of the GPU where one is
    used, else of the CPU. No limit if None.

    An allocation beyond that fails as if memory were full. Without effect on the CPU of systems other than Linux.
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

        _prepare_limit()
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


def _prepare_limit() -> None:
    """Before the limit is set: import what the bounds import lazily (a MemoryError inside an import leaves the module
    half-initialised), and let glibc return freed blocks above 128 KiB to the system, so that they no longer count."""
    import ctypes
    import importlib

    from sparrow.verification.auto_lirpa_bridge import auto_lirpa

    with contextlib.suppress(SparrowError):  # Whoever needs it hears of it there.
        auto_lirpa()
    for name in ("torch._dynamo", "scipy.optimize", "torchattacks"):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    with contextlib.suppress(AttributeError):  # Other C libraries than glibc have no such option.
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**17)


def _data_bytes() -> int:
    """Bytes of this process that the limit on data counts: private memory that can be written to."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 2**10
    return 0


M_MMAP_THRESHOLD = -3
"""Number of glibc's option for the size above which freed blocks go back to the system instead of staying on the heap."""


def in_parts(
    work: Callable[[Tensor], Any], accept: Callable[[Tensor, Any], None], indices: Tensor, size: int, what: str
) -> None:
    """Call `accept(part, work(part))` for parts of `indices` (n,), at most `size` long; shorter ones where memory runs out.

    `work` must leave nothing behind where it fails, and return plain values and tensors, which an open journal keeps. An index
    for which memory runs out even alone is skipped, and a line of the log, which begins with `what`, says so.
    """
    todo = list(indices.split(size)) if len(indices) else []
    while todo:
        part = todo.pop(0)
        # That it did not fit is recorded, too: in a resumed job it might fit, and be rounded another way.
        done = compute_once(f"{what} {part.tolist()}", partial(_attempt, work, part))
        if done is not None:
            accept(part, done[0])
            continue
        # Here the exception no longer refers to the failed attempt's tensors.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(part) == 1:
            print(f"{what}: an image does not fit into memory alone and stays undecided; raise memory_mb", flush=True)
            continue
        print(f"{what}: {len(part)} images do not fit into memory; trying {(len(part) + 1) // 2}", flush=True)
        todo = [*part.split((len(part) + 1) // 2), *todo]


def _attempt(work: Callable[[Tensor], Any], part: Tensor) -> tuple[Any] | None:
    """`work(part)` in a tuple; None if memory runs out."""
    try:
        return (work(part),)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError.
        if not out_of_memory(error):
            raise
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no more memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in OUT_OF_MEMORY_WORDS)
