"""Security curves: era and vra at any radius, from sweeps of attacks and verifiers, and from minimum-norm attacks.

Source: Biggio and Roli, "Wild Patterns", Pattern Recognition 2018, sec. 3.2 (security evaluation curves).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparrow.results.outcomes import Outcomes, radius, same
from sparrow.results.statistics import accuracy

REACH, POINTS = 3.0, 60
"""A curve goes to this many times the threat's radius, in this many steps."""


def curve(outcomes: Outcomes) -> pd.DataFrame:
    """One row per radius: `eps`, era and vra there, each with its interval and number of images.

    The radii are those of the study's attacks and verifiers; with a minimum-norm attack also steps on the way to `REACH`
    times the threat's. An era that no attack was run for, or a vra that no verifier was, is empty.
    """
    asked = [radius(table) for table in (*outcomes.attacks.values(), *outcomes.verifiers.values())]
    if outcomes.minimum_norm:
        # The study's own radii come first and keep all their digits; for steps between them six are enough.
        asked += [float(f"{eps:.6g}") for eps in outcomes.eps * REACH * np.arange(POINTS + 1) / POINTS]
    radii: list[float] = []
    for eps in asked:
        if not any(same(eps, other) for other in radii):
            radii.append(eps)
    rows = []
    for eps in sorted(radii):
        row = {"eps": eps}
        for metric, hits in (("era", outcomes.robust(eps)), ("vra", outcomes.verified(eps))):
            row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), accuracy(hits.to_numpy()), strict=True))
            row[f"{metric}_n"] = len(hits)
        rows.append(row)
    columns = ["eps", *(f"{metric}{suffix}" for metric in ("era", "vra") for suffix in ("", "_low", "_high", "_n"))]
    return pd.DataFrame(rows, columns=columns)
