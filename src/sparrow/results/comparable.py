"""Where a network's vra is not what one would compare it with: other networks' vra, by more verifiers, or its era, on other
images.

On the same images vra is never above era: aggregation stops at an image that is both verified and broken. Where it is above
nevertheless, the two are shares of different images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from sparrow.results.outcomes import Outcomes, radius, same
from sparrow.results.specs.outcomes import OutcomeTables

ABOVE, PARTIAL, DOUBTED = "§", "‡", "†"
"""Marks of a vra above era, of one by some of the verifiers, and of an era that may be lower than attacks found."""
WITHOUT = "vra_without"
COLUMNS = ("vra", "vra_low", "vra_high")


def verified_by_some(outcomes: Outcomes) -> pd.Series:
    """`Outcomes.verified`, whichever verifiers failed: by those that have a result."""
    return replace(outcomes, failed={room: why for room, why in outcomes.failed.items() if room != "verifiers"}).verified()


def verifiers_behind(outcomes: Outcomes, spec: OutcomeTables) -> dict[str, str | None]:
    """`vra_by`, the verifiers whose proofs the vra of a network counts, and `vra_without`, those that failed on it; None where
    there are none, or no vra."""
    if verified_by_some(outcomes).empty:
        return {"vra_by": None, WITHOUT: None}
    by = [
        name for name, table in outcomes.verifiers.items() if radius(table) >= outcomes.eps or same(radius(table), outcomes.eps)
    ]
    failed = [name for name in spec.verifiers if name not in outcomes.verifiers and name not in spec.smoothed]
    return {"vra_by": ", ".join(by), WITHOUT: ", ".join(failed) or None}


def with_whole_vra(summary: pd.DataFrame) -> pd.DataFrame:
    """summary.csv without the vra of networks on which a verifier failed: others have it by more verifiers."""
    if WITHOUT not in summary:
        return summary
    partial = summary[WITHOUT].notna()
    counts = {"vra_n": summary["vra_n"].mask(partial, 0)} if "vra_n" in summary else {}
    return summary.assign(**{name: summary[name].mask(partial) for name in COLUMNS if name in summary}, **counts)


def above_era(row: Mapping[Any, Any]) -> str:
    """Of which images the vra of a row is, and of which its era, if it is above that; else empty."""
    vra, era = row.get("vra"), row.get("era")
    if vra is None or era is None or not vra > era:  # Not a number is above nothing.
        return ""
    own, others = (row.get(f"{metric}_n") for metric in ("vra", "era"))
    if own is None or others is None or pd.isna(own) or pd.isna(others) or own == others:
        return "of other images than era"
    return f"of {int(own):,} images, era of {int(others):,}"


def by_some(row: Mapping[Any, Any]) -> str:
    """Which verifiers a row's vra is by, and which failed, if any did; else empty."""
    without = row.get(WITHOUT)
    return f"by {row['vra_by']}; failed: {without}" if isinstance(without, str) and without else ""


def may_be_lower(row: Mapping[Any, Any]) -> str:
    """What attacks told of that may make a row's era larger than it is; else empty.

    Nothing makes it larger than it is where every image that stands is verified, too.
    """
    told = row.get("era_warnings")
    if not isinstance(told, str) or not told:
        return ""
    exact = row.get("vra") is not None and row.get("vra") == row.get("era") and row.get("vra_n") == row.get("era_n")
    return "" if exact else told
