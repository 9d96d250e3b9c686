"""The end of a job by SIGTERM, SIGINT (Ctrl-C) or SIGHUP (a closed terminal): soon, and at a point where nothing is lost.

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
_ignoring = False
_handling = False


class Interrupted(BaseException):
    """The job got one of SIGNALS. A BaseException, so that no `except Exception` swallows it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """While the context is active, SIGTERM, SIGINT and SIGHUP raise `Interrupted` in the main thread.

    Inside `deferred()` they are only noted; `raise_if_requested()` raises later.
    """
    global _requested, _ignoring
    _requested = _ignoring = False
    with handling_signals(_request):
        try:
            yield
        finally:
            _requested = False


@contextmanager
def handling_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """While the context is active, `handler` is called with each of SIGNALS that arrives (number, stack frame).

    Afterwards the handlers of before are back, unless `ignore_signals` was called inside.
    """
    global _handling
    # A signal that is ignored from the start (nohup) stays ignored.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler_before in before.items() if handler_before is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, handler)
    _handling = True
    try:
        yield
    finally:
        _handling = False
        for number in [] if _ignoring else ours:
            signal.signal(number, before[number] or signal.SIG_DFL)


def ignore_signals() -> None:
    """Ignore SIGTERM, SIGINT and SIGHUP from here on. Call it once the outputs are written.

    A signal during interpreter shutdown would give a non-zero exit status, and Snakemake would delete the outputs of a job
    that succeeded. No effect outside `handling_signals`.
    """
    global _ignoring
    if _handling:
        _ignoring = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def block_signals() -> None:
    """Block SIGNALS until `unblock_signals`, in a process that has no handlers for them yet, or needs them no more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock_signals() -> None:
    """Unblock SIGNALS; what arrived since `block_signals` is delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def requested() -> bool:
    """Whether a signal has arrived inside `interruptible` and has not ended the job yet."""
    return _requested


def raise_if_requested() -> None:
    """Raise Interrupted if `requested`."""
    if _requested:
        raise Interrupted


@contextmanager
def deferred() -> Iterator[None]:
    """While the context is active, signals are noted and do not raise; call `raise_if_requested` often inside, or be brief."""
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
        return  # A batch system sends one SIGTERM to the job and one to each of its steps; a second Ctrl-C is meant.
    if again or not _deferring:
        raise Interrupted


def this_process() -> str:
    """This process's number and namespace, `1234@4026531836`: the value of `MAIN` for the jobs that it starts."""
    return f"{os.getpid()}@{_namespace()}"


def end_with_snakemake() -> None:
    """Send this process SIGTERM once the Snakemake process in the variable `MAIN` has ended, even if it was killed.

    Otherwise the job would go on running beside the one that replaces it in the next run. No effect where that process
    cannot be seen, as from inside a container.
    """
    number, _, namespace = os.environ.get(MAIN, "").partition("@")
    if number.isdigit() and namespace and namespace == _namespace():
        threading.Thread(target=_watch, args=(int(number),), daemon=True).start()


def _namespace() -> str:
    """Identifier of the namespace of this process's number; empty where the system has no namespaces."""
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
    if not _requested and not _ignoring:
        os.kill(os.getpid(), signal.SIGTERM)
