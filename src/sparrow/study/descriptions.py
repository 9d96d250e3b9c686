"""What a data set says of its images before they are read, checked. Imports no torch."""

from __future__ import annotations

from typing import Any

from sparrow import catalogue
from sparrow.data.source import Description
from sparrow.errors import ConfigError, SparrowError

VALID = "describe must return Description(shape=(c, h, w), classes=n), whole numbers above 0"


def described(label: str, params: Any) -> Description:
    """Shape and classes of a study's data set. Raises ConfigError, in one line with its label, if `describe` tells no such."""
    try:
        found = catalogue.load("datasets", params.kind).describe(params)
    except SparrowError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"datasets.{label}: describe fails with {type(error).__name__}: {said}; {VALID}") from None
    if not (isinstance(found, Description) and _counts(found.shape, 3) and _counts((found.classes,), 1)):
        raise ConfigError(f"datasets.{label}: {VALID}, not {found!r}")
    return found


def _counts(values: Any, length: int) -> bool:
    """Whether `values` are a tuple of so many whole numbers above 0."""
    return isinstance(values, tuple) and len(values) == length and all(type(value) is int and value > 0 for value in values)
