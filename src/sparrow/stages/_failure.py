"""Files that record why there is no usable network: the study continues without it, and the report shows the gap."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from safetensors.torch import save_file

from sparrow.errors import InheritedError, NetworkError
from sparrow.files.atomic import replacing
from sparrow.files.headers import FORMAT

P = ParamSpec("P")


def recorded(record: Callable[..., None]) -> Callable[[Callable[P, str | None]], Callable[P, str | None]]:
    """Decorates a stage: where it raises NetworkError, `record(message, **arguments of the stage)` writes its outputs instead.

    The stage then returns one line for the user, unless that was said of the network that this one comes from. What a stage
    that succeeds returns is such a line, too.
    """

    def decorate(stage: Callable[P, str | None]) -> Callable[P, str | None]:
        @functools.wraps(stage)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> str | None:
            try:
                return stage(*args, **kwargs)
            except NetworkError as error:
                arguments = inspect.signature(stage).bind(*args, **kwargs).arguments
                inherited = isinstance(error, InheritedError)
                message = str(error) if inherited else f"{arguments['output']}: {error}"
                print(f"failed: {message}")
                record(message, **arguments)
                return None if inherited else f"warning: {message}; recorded, the study goes on without it"

        return wrapped

    return decorate


def failed_checkpoint(message: str, output: Path, stage: str, cell: dict, **origin: Any) -> None:
    """Write a checkpoint without tensors, whose header has the reason and `origin`. What is made from it fails alike."""
    header = {**origin, "format": FORMAT, "stage": stage, "cell": cell, "failed": message}
    with replacing(output) as partial:
        save_file({}, partial, {"sparrow": json.dumps(header, sort_keys=True)})
