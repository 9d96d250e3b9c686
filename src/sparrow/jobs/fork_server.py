"""One interpreter that has torch, auto_LiRPA and other libraries imported, and forks a process for each local job.

A small job spends most of its time importing. `start` launches the server beside a workflow that runs on this machine;
`call` hands it a job. A job is still a process of its own, reads and writes the same files, and fails alone. Without a
server, or with one of another environment, `call` returns None and the job runs in the calling process.

The server ends when the process that started it does, and a job ends when its caller does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from sparrow.jobs import interruption

VARIABLE = "SPARROW_FORK_SERVER"
PRELOADED = (
    *("torch", "safetensors.torch", "pydantic.main", "torch._dynamo", "torchattacks"),
    *("sparrow.verification.auto_lirpa_bridge:auto_lirpa", "pandas"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.pyplot"),
)
"""Modules to import, in the order in which a study needs them; after a colon, a function of the module to call.

`torch._dynamo` takes a second, and every optimiser and every bound imports it.
"""

KILLED = '{"status": 1, "message": "the job\'s process was killed"}'
"""The answer, as JSON, of a job whose connection closed without one."""

# Keeps the servers' standard inputs open: a pipe that is garbage-collected is closed, and its server ends.
_servers: list[subprocess.Popen] = []


def can_fork() -> bool:
    """Whether forking is safe and worth it: on Linux, and without a GPU, whose driver does not survive a fork."""
    return sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def start() -> subprocess.Popen:
    """Launch a server for this process and its children, which find it through the environment."""
    folder = Path(tempfile.mkdtemp(prefix="sparrow-"))
    if len(str(folder)) > 80:  # A socket's path has to fit into 108 bytes.
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="sparrow-", dir="/tmp"))
    os.environ[VARIABLE] = f"{sys.prefix}{os.pathsep}{folder / 'socket'}"
    # One thread: the server forks, and a process with threads must not.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # A session of its own keeps Ctrl-C away from it; its end comes with the end of standard input.
    server = subprocess.Popen(
        [sys.executable, "-m", "sparrow.jobs.fork_server", folder / "socket"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # Jobs write to their logs; what libraries say when imported is noise.
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    _servers.append(server)
    return server


def call(request: dict[str, Any]) -> dict[str, Any] | None:
    """The server's answer to `request` (the arguments of `execute`); None if there is no server of this environment.

    An answer has `status`, the job's exit status, and `message`, a line for the user or ''. One of SIGNALS sent to this
    process is passed on to the job, whose answer is still awaited.
    """
    prefix, _, address = os.environ.get(VARIABLE, "").rpartition(os.pathsep)
    if prefix != sys.prefix:
        return None
    received: list[int] = []
    with (
        socket.socket(socket.AF_UNIX) as connection,
        # Noted from here on: a job may have begun before this process reads that it was accepted.
        interruption.handling_signals(lambda number, frame: received.append(number)),
    ):
        stream = _accepted(connection, address, request)
        if stream:
            with interruption.handling_signals(partial(_hand_on, connection)):
                if received:
                    _hand_on(connection)
                answer = json.loads(stream.readline() or KILLED)
                if answer["status"] == 0:
                    interruption.ignore_signals()
            return answer
    if received:
        os.kill(os.getpid(), received[0])
    return None


def _accepted(connection: socket.socket, address: str, request: dict[str, Any]) -> TextIO | None:
    """The stream of the server's answer, once the server has accepted the request; None if no server does."""
    try:
        connection.connect(address)
        stream = connection.makefile("rw")
        print(json.dumps({**request, "directory": os.getcwd(), "environment": dict(os.environ)}), file=stream, flush=True)
        return stream if stream.readline() == "accepted\n" else None
    except OSError:
        return None


def _hand_on(connection: socket.socket, *signal_and_frame: object) -> None:
    """Pass a signal on to the job at the other end of the connection."""
    with contextlib.suppress(OSError):
        connection.send(b"!")


def serve(address: str) -> None:
    """Fork a process for each job that comes to the socket `address`, until standard input closes or SIGTERM or SIGINT."""
    with contextlib.suppress(KeyboardInterrupt):
        _listen(address)
    Path(address).unlink(missing_ok=True)
    Path(address).parent.rmdir()


def _listen(address: str) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for the jobs here; the system buries them.
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(address)
        listener.listen(128)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        to_import = list(PRELOADED)
        while True:
            # The first job of a study needs little; it does not wait for what the last ones will need.
            ready = selector.select(0 if to_import else None)
            if any(key.fileobj is not listener for key, _ in ready):
                return
            if not ready:
                _import(to_import.pop(0))
                continue
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _work(connection)
            connection.close()


def _import(name: str) -> None:
    """Import one of PRELOADED. Signals are blocked meanwhile and delivered afterwards.

    A KeyboardInterrupt inside an import may be swallowed by the package, or leave it half-imported.
    """
    interruption.block_signals()
    module, _, function = name.partition(":")
    imported = importlib.import_module(module)
    if function:
        getattr(imported, function)()
    interruption.unblock_signals()


def _work(connection: socket.socket) -> None:
    """Run one job in a process just forked, answer, and end."""
    interruption.block_signals()  # The caller may pass one on as soon as it reads that the job was accepted.
    from sparrow.jobs.execute import execute

    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    stream = connection.makefile("rw")
    request = json.loads(stream.readline())
    os.chdir(request.pop("directory"))
    os.environ.clear()
    os.environ.update(request.pop("environment"))
    print("accepted", file=stream, flush=True)
    threading.Thread(target=_end_with_caller, args=(connection,), daemon=True).start()
    status, message = execute(**request)
    interruption.block_signals()  # A job that is done answers whatever arrives now.
    with contextlib.suppress(OSError):
        print(json.dumps({"status": status, "message": message}), file=stream, flush=True)
    os._exit(status)


def _end_with_caller(connection: socket.socket) -> None:
    """SIGTERM to this process for every byte from the caller, which passes signals on; exit at once if the caller has ended.

    Snakemake kills the process that it started, which is the caller.
    """
    with contextlib.suppress(OSError):
        while connection.recv(1):
            os.kill(os.getpid(), signal.SIGTERM)
    os._exit(1)


if __name__ == "__main__":
    serve(sys.argv[1])
