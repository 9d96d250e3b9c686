"""Memory that is free stays with the process."""

import os
import subprocess
import sys

import pytest

from sparrow.jobs import allocator

# Pages that a second block of 64 MiB has to fetch, after a first one was given back.
FAULTS = """
import ctypes, resource, sys
from sparrow.jobs import allocator
if sys.argv[1] == "kept":
    assert allocator.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for turn in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GLIBC = sys.platform == "linux" and "glibc" in os.confstr("CS_GNU_LIBC_VERSION")


def faults(mode: str) -> int:
    found = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_a_block_is_used_again():
    assert faults("kept") < 100 < faults("given back")


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
