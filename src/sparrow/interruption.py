"""A job that is told to end (SIGTERM, Ctrl-C, a closed terminal) does so soon, and where nothing is lost.

Slurm sends SIGTERM before it preempts a job or ends it for its time, and SIGKILL half a minute later.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MAIN = "SPARROW_MAIN"
"""Variable with the number of the Snakemake process that started the job."""

_requested = False
_deferring = 0


class Interrupted(BaseException):
    """The job was told to end. No error: nothing that takes care of errors may swallow it."""


@contextmanager
def heard() -> Iterator[None]:
    """Listen while the context lasts: a request raises `Interrupted`, or waits where it is `deferred`. Main thread only."""
    global _requested
    _requested = False
    # What was told to be ignored (nohup) stays so.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, _request)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number] or signal.SIG_DFL)
        _requested = False


def requested() -> bool:
    """Whether a request waits."""
    return _requested


@contextmanager
def deferred() -> Iterator[None]:
    """Requests wait while the context lasts: whoever opens it asks `requested` often."""
    global _deferring
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1


def _request(number: int, frame: object) -> None:
    global _requested
    if not _deferring or _requested:  # Who asks twice is not made to wait.
        raise Interrupted
    _requested = True


def end_with_snakemake() -> None:
    """Have this process interrupted when the Snakemake process that started the job is gone, even if it was killed.

    Otherwise the job would go on beside the one that takes its place in the next run. Linux only.
    """
    number = os.environ.get(MAIN, "")
    if not number.isdigit() or not hasattr(os, "pidfd_open"):
        return
    try:
        process = os.pidfd_open(int(number))
    except OSError:  # Not to be seen from here, such as from inside a container.
        return
    threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGTERM)
