"""A radius or a step size as people write it, `8/255` or `0.1`, and as a number. Imports no torch.

A radius is a double everywhere: a fraction of integers is the double nearest to it, so that `8/255` and
`0.03137254901960784` are equal. The text is made from the double: a decimal if that is short, else the fraction.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any

VALID = "must be a number above 0, or a fraction of integers such as 8/255"
LEVELS = 255
"""Steps between black and white in an image of 8 bits: the denominator that is tried first."""
LARGEST_DENOMINATOR = 1000
DECIMAL_DIGITS = 12
"""A double of at most so many digits is shown as a decimal; of one with more, a fraction is sought."""
_FRACTION = re.compile(r"([0-9]+) */ *([0-9]+)")


def parse(value: Any) -> float:
    """A number, or a text such as `8/255` or `0.1`, as a double. Raises ValueError, in one line, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not valid: {VALID}")
    if not isinstance(value, str):
        return float(value)
    fraction = _FRACTION.fullmatch(value.strip())
    try:
        # Division of integers is rounded once.
        return int(fraction[1]) / int(fraction[2]) if fraction else float(value)
    except ZeroDivisionError:
        raise ValueError(f"{value!r} divides by zero: {VALID}") from None
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not valid: {VALID}") from None


def text(eps: float) -> str:
    """A radius as people write it, such as `8/255`, `0.1` or `1e-05`; `parse` reads the same double from it."""
    return _fraction(float(eps)) or number(eps)


def number(eps: float) -> str:
    """A radius as a number with all of its digits, such as `0.03137254901960784` or `2`."""
    return repr(float(eps)).removesuffix(".0")


def label(eps: float) -> str:
    """A radius as text for file names, such as `8_255`, `0.1` or `0.00001`; no two radii have the same."""
    return _fraction(float(eps)).replace("/", "_") or f"{Decimal(repr(float(eps))):f}"


@cache
def _fraction(eps: float) -> str:
    """The fraction, such as `8/255`, whose nearest double is `eps`; empty for a short decimal, or if there is none."""
    digits = Decimal(repr(eps)).as_tuple().digits if 0 < eps < LEVELS else ()
    if len(digits) > DECIMAL_DIGITS:
        for below in (LEVELS, *range(2, LARGEST_DENOMINATOR + 1)):
            above = round(eps * below)
            if above and above / below == eps:
                return f"{above}/{below}"
    return ""
