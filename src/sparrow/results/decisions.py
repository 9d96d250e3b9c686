"""The number of images that each bound has decided: by each verifier, and by all verifiers and attacks together."""

from __future__ import annotations

import pandas as pd

from sparrow.results.outcomes import Outcomes, radius, same

COLUMNS = ["verifier", "eps", "status", "decided", "images", "seen"]
ATTACK = "attack"


def decisions(outcomes: Outcomes) -> pd.DataFrame:
    """One row per verifier, status and value of `decided`: `verifier`, `eps`, `status`, `decided`, `images`, `seen`.

    Rows without a `verifier` are what the study knows of the network at its threat (`together`).
    """
    parts = [_counted(table, name, radius(table)) for name, table in outcomes.verifiers.items()]
    known = together(outcomes)
    parts += [_counted(known, None, outcomes.eps)] if len(known) else []
    return pd.concat(parts)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _counted(table: pd.DataFrame, verifier: str | None, eps: float) -> pd.DataFrame:
    counts = table.groupby(["status", "decided"]).size().rename("images").reset_index()
    return counts.assign(verifier=verifier, eps=eps, seen=len(table))


def together(outcomes: Outcomes) -> pd.DataFrame:
    """`status` and `decided` of each image that the vra is of, by all verifiers and attacks at the threat's radius; empty
    without a vra.

    An image is verified by the first verifier that proves it, and falsified by what is first to falsify it, or by an `attack`
    that counts for the era. So the share that is verified is the vra; where attacks saw the same images, the share that is
    falsified is what the era lacks, and what verifiers falsify besides.
    """
    verified = outcomes.verified()
    known = pd.DataFrame({"status": "unknown", "decided": "nothing"}, index=verified.index)
    standing = outcomes.robust().reindex(known.index, fill_value=True)
    known.loc[~standing, ["status", "decided"]] = ["falsified", ATTACK]
    tables = [
        table for table in outcomes.verifiers.values() if radius(table) >= outcomes.eps or same(radius(table), outcomes.eps)
    ]
    # What comes later here is overruled by what comes first in the study, and any by a proof.
    for status in ("falsified", "verified"):
        for table in reversed([table for table in tables if status == "verified" or same(radius(table), outcomes.eps)]):
            found = table[table["status"] == status].reindex(known.index).dropna(subset=["decided"])
            known.loc[found.index, ["status", "decided"]] = found[["status", "decided"]]
    wrong = ~outcomes.correct().reindex(known.index, fill_value=True)
    known.loc[wrong, ["status", "decided"]] = ["falsified", "misclassified"]
    return known
