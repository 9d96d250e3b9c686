"""The number of images that each bound has decided."""

from __future__ import annotations

import pandas as pd

from sparrow.results.outcomes import Outcomes


def decisions(outcomes: Outcomes) -> pd.DataFrame:
    """One row per verifier, status and value of `decided`: `verifier`, `eps`, `status`, `decided`, `images`, `seen`."""
    parts = []
    for name, table in outcomes.verifiers.items():
        counts = table.groupby(["status", "decided"]).size().rename("images").reset_index()
        parts.append(counts.assign(verifier=name, eps=table["eps"].iloc[0], seen=len(table)))
    columns = ["verifier", "eps", "status", "decided", "images", "seen"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
