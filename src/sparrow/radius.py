"""A radius or a step size as people write it, `8/255` or `0.1`, and as a number. Imports no torch.

A radius is a double everywhere: a fraction of integers stands for the double nearest to it, so that `8/255` and
`0.03137254901960784` are one. What is shown is found from the double: a decimal if that is short, else the fraction.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any

VALID = "must be a number above 0, or a fraction of integers such as 8/255"
LEVELS = 255
"""Steps between black and white in an image of 8 bits: the denominator that is meant if it can be."""
LARGEST, SHORT = 1000, 12
"""The largest denominator that is looked for, and from how many digits on: what has fewer was written as a decimal."""
_FRACTION = re.compile(r"([0-9]+) */ *([0-9]+)")


def parse(value: Any) -> float:
    """The radius that a number or a text means; of a fraction, the double nearest to it. Raises ValueError in one line."""
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
    """A radius as it stands in paths, such as `8_255`, `0.1` or `0.00001`; no two have the same."""
    return _fraction(float(eps)).replace("/", "_") or f"{Decimal(repr(float(eps))):f}"


@cache
def _fraction(eps: float) -> str:
    """The fraction whose nearest double this is; empty for a short decimal, and where there is none."""
    digits = Decimal(repr(eps)).as_tuple().digits if 0 < eps < LEVELS else ()
    if len(digits) > SHORT:
        for below in (LEVELS, *range(2, LARGEST + 1)):
            above = round(eps * below)
            if above and above / below == eps:
                return f"{above}/{below}"
    return ""
