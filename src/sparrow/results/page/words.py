"""Numbers, intervals and threats in the words of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from sparrow import radius
from sparrow.settings import Threat

NORMS = {"linf": "l∞", "l2": "l2"}


def reach(one: Threat) -> tuple[str, str, str]:
    """What a threat allows, as text before, size, and text behind: `each pixel, in [0, 1], by at most`, `0.1`, ` (l∞)`."""
    what = {"linf": "each pixel, in [0, 1], by at most", "l2": "an image, of pixels in [0, 1], by at most"}[one.norm]
    return what, radius.text(one.eps), {"linf": " (l∞)", "l2": " in Euclidean distance (l2)"}[one.norm]


def threat(one: Threat) -> str:
    """A threat as people write it: `l∞, 8/255`."""
    return f"{NORMS[one.norm]}, {radius.text(one.eps)}"


def percent(value: float) -> str:
    """A share in percent, with one decimal: `85.3`. Halves are rounded away from 0, as in the tables that `page.js` shows."""
    if math.isnan(value):
        return "–"
    # Four digits first: 36.25 is a half also where its double lies below.
    tenths = Decimal(f"{1000 * value:.4f}").quantize(Decimal(1), ROUND_HALF_UP)
    return f"{float(tenths) / 10 + 0.0:.1f}"


def interval(mean: float, low: float, high: float) -> str:
    """A share and its interval, inside of 0 and 100 %: `85.3 % [81.2, 88.7]`. One without a width, of seeds that are all alike,
    is no evidence, and is left out."""
    if not has_width(low, high):
        return "–" if math.isnan(mean) else f"{percent(mean)}\u00a0%"
    return f"{percent(mean)}\u00a0% [{percent(max(low, 0))}, {percent(min(high, 1))}]"


def has_width(low: float, high: float) -> bool:
    """Whether an interval has two ends that differ; one without a width says nothing."""
    return not (math.isnan(low) or math.isnan(high)) and low != high


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else "".join(names)


def seeds(known: Sequence[int]) -> str:
    """How many seeds there are, and which: `6 (0 to 5)`, `2 (1, 5)`, `1 (seed 0)`."""
    if len(known) == 1:
        return f"1 (seed {known[0]})"
    lowest, highest = min(known), max(known)
    one_after_another = len(known) > 2 and sorted(known) == list(range(lowest, highest + 1))
    return f"{len(known)} ({f'{lowest} to {highest}' if one_after_another else ', '.join(map(str, known))})"


def count(number: int, what: str, plural: str | None = None) -> str:
    """A number and its noun: `1 network`, `12 networks`."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"
