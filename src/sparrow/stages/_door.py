"""Where a stage's spec comes in: plain values, as Snakemake hands them on, become the stage's type once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from sparrow.stages.specs.base import Spec

Result = TypeVar("Result")


def opened(kind: type[Spec]) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorates a stage: its argument `spec` may be plain values, and is a `kind` inside. Raises ValidationError."""

    def decorate(stage: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(stage)

        @functools.wraps(stage)
        def wrapped(*args: Any, **kwargs: Any) -> Result:
            bound = signature.bind(*args, **kwargs)
            bound.arguments["spec"] = kind.model_validate(bound.arguments["spec"])
            return stage(*bound.args, **bound.kwargs)

        return wrapped

    return decorate
