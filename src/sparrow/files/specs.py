"""What the specs of all jobs have in common, and where they come in: plain values become a stage's type once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

Result = TypeVar("Result")

Entry = dict[str, Any]
"""An entry of a room as plain values: `{"kind": ..., **parameters}`, which `catalogue.from_spec` opens."""

BESIDE_CONFIG = frozenset({"cell", "code", "model", "stage"})
"""What headers say under keys of their own, and not in their `config`."""


class PlainValues(BaseModel):
    """Immutable; `model_dump` gives plain values, and leaves out what is None."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_none(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialised(self).items() if value is not None}


class Spec(PlainValues):
    """What one job reads of its study. `model_dump` gives the plain values that Snakemake compares from run to run."""

    code: str
    """Digest of the code that the job runs."""

    def config(self) -> dict[str, Any]:
        """What the header of a file made under this spec says of the configuration, but for what has a key of its own."""
        return self.model_dump(exclude=set(BESIDE_CONFIG))


def opened(kind: Any, argument: str = "spec") -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorates a stage: its `argument` may be plain values, and is a `kind` inside. Raises ValidationError."""
    values = TypeAdapter(kind)

    def decorate(stage: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(stage)

        @functools.wraps(stage)
        def wrapped(*args: Any, **kwargs: Any) -> Result:
            bound = signature.bind(*args, **kwargs)
            bound.arguments[argument] = values.validate_python(bound.arguments[argument])
            return stage(*bound.args, **bound.kwargs)

        return wrapped

    return decorate
