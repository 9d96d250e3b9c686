"""Text from a third party's file, made safe to print. Imports nothing."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 300


def printable(text: object) -> str:
    """`text` on one line, with control codes escaped, cut after LONGEST characters."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def listed(names: Iterable[object]) -> str:
    """`names`, printable, separated by commas; of more than 30, the first 30 and the number of the others."""
    shown = list(names)
    return ", ".join(printable(name) for name in shown[:30]) + (f", and {len(shown) - 30} more" if len(shown) > 30 else "")
