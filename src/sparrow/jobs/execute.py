"""The work of a job in its process: its log, its threads, its stage, and one clear line if it fails."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files.atomic import storage_fault
from sparrow.jobs import allocator, gpu_slot, interruption

STAGES = "sparrow.stages."
STOPPED = "stopped by a signal; run again, and it continues from its resume point, if it had written one"


def execute(function: str, log: str, threads: int, arguments: dict[str, Any]) -> tuple[int, str]:
    """Run `function` (`module:name`) in this process, as `run` says; the exit status, and a line for the user or ''."""
    module, _, name = function.partition(":")
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with (
            open(log, "w", buffering=1) as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
            interruption.interruptible(),
        ):
            interruption.end_with_snakemake()
            return _work(module, name, threads, arguments, log)
    except OSError as error:  # The log is on the disk that is full, too.
        return 1, f"error: {log}: cannot be written: {storage_fault(error) or error}"
    except interruption.Interrupted:
        return 1, STOPPED


def _work(module: str, name: str, threads: int, arguments: dict[str, Any], log: str) -> tuple[int, str]:
    try:
        interruption.unblock_signals()
        _prepare(threads)
        if module.startswith(STAGES):
            gpu_slot.take()
        stage = getattr(catalogue.module(module), name)
        if module.startswith(STAGES):
            # Before any tensor: torch's threads start with the first large one, and have the setting of that moment. The
            # jobs that only make tables are left as they are without torch, which a forked job has and another need not.
            from sparrow.reproducible import flush_denormals

            flush_denormals()
        message = stage(**{key: _files(value) for key, value in arguments.items()})
    except interruption.Interrupted:
        print(STOPPED)
        return 1, STOPPED
    except SparrowError as error:
        print(f"error: {error}")
        return 1, f"error: {error}"
    except Exception as error:
        traceback.print_exc()
        return 1, f"error: {type(error).__name__}: {' '.join(str(error).split())} (traceback in {log})"
    return 0, message or ""


def _prepare(threads: int) -> None:
    # The variable is read by libraries when they are imported; torch may have been imported before the fork.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    allocator.keep_freed_memory()
    # A reader of the log can do nothing about the deprecations of libraries.
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)


def _files(value: Any) -> Any:
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [Path(item) for item in value]
    return value
