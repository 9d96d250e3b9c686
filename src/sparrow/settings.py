"""The base of every piece of configuration, importable without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Norm = Literal["linf", "l2"]


class Settings(BaseModel):
    """Immutable, refuses unknown keys; a field's docstring is its description in the schema and in docs/options.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Threat(Settings):
    """What the adversary may do: move an image by at most `eps` in `norm`, inside [0, 1]."""

    norm: Norm = "linf"
    """Norm of the perturbation."""
    eps: float = Field(gt=0)
    """Radius of the perturbation in pixel units, images in [0, 1] (8/255 is 0.03137)."""


def unique(values: list | None) -> list | None:
    """`values`, if none is there twice. Raises ValueError."""
    for value in values or ():
        if values.count(value) > 1:
            raise ValueError(f"{value} appears {values.count(value)} times; every entry must be there once")
    return values


Ratios = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1), AfterValidator(unique)]


def _as_list(value: Any) -> Any:
    """`0.1` alone means `[0.1]`."""
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a radius; give a number, or a list of them")
    return value if value is None or isinstance(value, list) else [value]


_NUMBER = {"type": "number", "exclusiveMinimum": 0}
Radii = Annotated[
    Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None,
    BeforeValidator(_as_list),
    AfterValidator(unique),
    WithJsonSchema({"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER, "minItems": 1}, {"type": "null"}]}),
]


class Evaluation(Settings):
    """What attacks and verifiers have in common."""

    eps: Radii = None
    """Radius in pixel units, or a list of them: a sweep, without new training. The threat's, if null."""
    samples: int | None = Field(None, ge=1)
    """Evaluate on this many test images, a fixed seeded subset (smaller ones are part of larger ones); on all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""
    objectives: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Evaluate only networks trained on these objectives, by label; on all if null."""
