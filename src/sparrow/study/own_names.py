"""What every study calls its own: tables in the results folder, and figures. No label of an analysis is one of these."""

from __future__ import annotations

TABLES = (
    *("outcomes", "summary", "layers", "recall", "intensification", "ranking", "security", "decisions", "costs"),
    *("provenance", "published", "headline"),
)
FIGURES = (
    *("accuracy", "preservation", "sparsity", "ranking", "recall", "robustness", "decisions", "security", "published"),
    *("curves", "traces"),
)
OWN_NAMES = frozenset((*TABLES, *FIGURES))
