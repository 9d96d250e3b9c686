"""Threats in words and radii in CSV files: the networks of one table may have different threats."""

from __future__ import annotations

import pandas as pd

from sparrow import radius


def with_text(table: pd.DataFrame, end: str = "") -> pd.DataFrame:
    """`table` for a CSV file: its column `eps` with all digits, and beside it `eps_text`, the radius as people write it.

    `end` is the ending of both names; a radius that is missing stays so.
    """
    radii = table[f"eps{end}"].astype(float)
    written = table.assign(**{f"eps{end}": radii.map(radius.number, na_action="ignore")})
    written.insert(list(written).index(f"eps{end}") + 1, f"eps_text{end}", radii.map(radius.text, na_action="ignore"))
    return written


def in_words(norm: str, eps: float) -> str:
    """A threat in words, such as `linf 8/255`."""
    return f"{norm} {radius.text(eps)}"
