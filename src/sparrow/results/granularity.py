"""How tables and figures name what was pruned, where that is not single weights: behind a method's name, or behind a ratio."""

from __future__ import annotations

FILTER, WEIGHT = "filter", "weight"


def behind_method(granularity: object) -> str:
    """` (filters)`, ` (2:4)`, or nothing for single weights and for dense networks, whose granularity is empty."""
    if granularity == FILTER:
        return " (filters)"
    return f" ({granularity})" if _is_pattern(granularity) else ""


def behind_ratio(granularity: object) -> str:
    """` of filters`, `, 2:4`, or nothing for single weights."""
    if granularity == FILTER:
        return " of filters"
    return f", {granularity}" if _is_pattern(granularity) else ""


def _is_pattern(granularity: object) -> bool:
    # Of a dense network pandas reads the empty granularity as a number that is none.
    return isinstance(granularity, str) and granularity not in ("", WEIGHT)
