"""Text of a third party's file, as it can be shown. Imports nothing."""

from __future__ import annotations

LONGEST = 300


def printable(text: object) -> str:
    """`text` on one line, without control codes, which a terminal would obey, and not longer than a message bears."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def listed(names: object) -> str:
    """`names`, printable, with commas between them; of many, the first."""
    names = list(names)
    return ", ".join(printable(name) for name in names[:30]) + (f", and {len(names) - 30} more" if len(names) > 30 else "")
