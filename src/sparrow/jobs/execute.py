"""What a job of the workflow does in its process: its log, its threads, its stage, and one clear line if it fails."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from sparrow.errors import SparrowError
from sparrow.files.atomic import storage_fault
from sparrow.jobs import allocator, interruption

STAGES = "sparrow.stages."
STOPPED = "stopped: told to end; run again, and it goes on from its resume point, if it had come to one"


def execute(function: str, log: str, threads: int, arguments: dict[str, Any]) -> tuple[int, str]:
    """Do the work of `run` in this process; exit status, and one line for the user or none."""
    module, _, name = function.partition(":")
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with (
            open(log, "w", buffering=1) as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
            interruption.heard(),
        ):
            interruption.end_with_snakemake()
            return _work(module, name, threads, arguments, log)
    except OSError as error:  # The log is on the disk that is full, too.
        return 1, f"error: {log}: cannot be written: {storage_fault(error) or error}"
    except interruption.Interrupted:
        return 1, STOPPED


def _work(module: str, name: str, threads: int, arguments: dict[str, Any], log: str) -> tuple[int, str]:
    try:
        interruption.let_in()
        _prepare(threads)
        stage = getattr(importlib.import_module(module), name)
        if module.startswith(STAGES):
            # Before any tensor: the threads that the first large one starts would compute otherwise. Tables are computed as
            # they are without torch, which a warm job has and a cold one need not.
            from sparrow.reproducible import flush_denormals

            flush_denormals()
        told = stage(**{key: _files(value) for key, value in arguments.items()})
    except interruption.Interrupted:
        print(STOPPED)
        return 1, STOPPED
    except SparrowError as error:
        print(f"error: {error}")
        return 1, f"error: {error}"
    except Exception as error:
        traceback.print_exc()
        return 1, f"error: {type(error).__name__}: {' '.join(str(error).split())} (traceback in {log})"
    return 0, told or ""


def _prepare(threads: int) -> None:
    # For libraries that are yet to be imported, and for torch if it is there already.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    allocator.keep_freed_memory()
    # What libraries say about their own future is nothing that a reader of the log can act on.
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)


def _files(value: Any) -> Any:
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [Path(item) for item in value]
    return value
