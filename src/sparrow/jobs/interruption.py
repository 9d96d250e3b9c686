"""A job that is told to end (SIGTERM, Ctrl-C, a closed terminal) does so soon, and where nothing is lost.

Slurm sends SIGTERM before it preempts a job or ends it for its time, and SIGKILL half a minute later.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MAIN = "SPARROW_MAIN"
"""Variable with the number of the Snakemake process that started the job, and of the namespace that the number holds in."""

_requested = False
_deferring = 0
_over = False
_listening = False


class Interrupted(BaseException):
    """The job was told to end. No error: nothing that takes care of errors may swallow it."""


@contextmanager
def heard() -> Iterator[None]:
    """Listen while the context lasts: a request raises `Interrupted`, or waits where it is `deferred`. Main thread only."""
    global _requested, _over
    _requested = _over = False
    with handled(_request):
        try:
            yield
        finally:
            _requested = False


@contextmanager
def handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have `handler` called on a signal while the context lasts, or longer if the process's work is `over` by then."""
    global _listening
    # What was told to be ignored (nohup) stays so.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler_before in before.items() if handler_before is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, handler)
    _listening = True
    try:
        yield
    finally:
        _listening = False
        for number in [] if _over else ours:
            signal.signal(number, before[number] or signal.SIG_DFL)


def over() -> None:
    """The work of this process is done: told to end while it closes down, it would be taken for failed, and its files go."""
    global _over
    if _listening:
        _over = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def hold_back() -> None:
    """Have requests to end wait until they are `let_in`: they would end a process that cannot handle them yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def let_in() -> None:
    """Hear the requests that came since `hold_back`, if any."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def requested() -> bool:
    """Whether a request waits."""
    return _requested


def give_way() -> None:
    """Raise Interrupted if a request waits."""
    if _requested:
        raise Interrupted


@contextmanager
def deferred() -> Iterator[None]:
    """Requests wait while the context lasts: whoever opens it asks for them often, or is done soon."""
    global _deferring
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1


def _request(number: int, frame: object) -> None:
    global _requested
    again, _requested = _requested, True
    if again and number != signal.SIGINT:
        return  # A batch system says it to a job and to its steps; somebody at the keyboard means it.
    if again or not _deferring:
        raise Interrupted


def this_process() -> str:
    """What `MAIN` holds for jobs that this process starts."""
    return f"{os.getpid()}@{_namespace()}"


def end_with_snakemake() -> None:
    """Have this process interrupted when the Snakemake process that started the job is gone, even if it was killed.

    Otherwise the job would go on beside the one that takes its place in the next run. Without effect where that process
    cannot be seen, as from inside a container.
    """
    number, _, namespace = os.environ.get(MAIN, "").partition("@")
    if number.isdigit() and namespace and namespace == _namespace():
        threading.Thread(target=_watch, args=(int(number),), daemon=True).start()


def _namespace() -> str:
    """What numbers of processes hold in; empty where the system has nothing of the kind."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def _watch(number: int) -> None:
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        pass
    except (AttributeError, OSError):  # Before Linux 5.3.
        while os.path.exists(f"/proc/{number}"):
            time.sleep(1)
    else:
        select.select([process], [], [])
    if not _requested and not _over:
        os.kill(os.getpid(), signal.SIGTERM)
