"""A setting of glibc's allocator: memory that is freed stays with the process.

By default glibc gives large blocks back to the system as soon as they are free, and what it gets next has to be cleared and
mapped page by page: on a virtual machine at 2 GB/s. A training step frees and wants the same blocks hundreds of times.
"""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def keep_freed_memory() -> bool:
    """Keep freed memory in this process until it ends; whether the C library can (glibc alone). The peak hardly changes."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none.
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
