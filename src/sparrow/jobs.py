"""How a job of the workflow runs a stage: its log, its threads, and one clear line if the input is at fault."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from sparrow.errors import SparrowError


def run(function: str, log: str, threads: int, **arguments: Any) -> None:
    """Call `function` (`module:name`) with `arguments`, its output going to the file `log`.

    Strings, and lists of strings, stand for files. A SparrowError ends the process with its message and no traceback.
    """
    # OpenMP reads this when torch is first imported, which happens below.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with open(log, "w", buffering=1) as file, contextlib.redirect_stdout(file):
        try:
            with contextlib.redirect_stderr(file):
                _quieten()
                module, _, name = function.partition(":")
                getattr(importlib.import_module(module), name)(**{key: _paths(value) for key, value in arguments.items()})
        except SparrowError as error:
            print(f"error: {error}")
            print(f"error: {error}", file=sys.__stderr__)
            sys.exit(1)


def _paths(value: Any) -> Any:
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [Path(item) for item in value]
    return value


def _quieten() -> None:
    """Drop what libraries say about their own future, which no user of a log can act on."""
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
