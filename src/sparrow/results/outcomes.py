"""All outcome tables of one checkpoint, side by side, and the check that they do not contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.errors import ContradictionError, SparrowError
from sparrow.outcome_table import COLUMNS, STATUS


@dataclass(frozen=True)
class Outcomes:
    """The tables of one checkpoint by attack and by verifier, each indexed by image.

    Those of verifiers of a smoothed classifier are kept apart: it is another classifier.
    """

    path: Path
    attacks: dict[str, pd.DataFrame]
    verifiers: dict[str, pd.DataFrame]
    smoothed: dict[str, pd.DataFrame]

    def labels(self) -> pd.Series:
        """The label of every image that any table has seen."""
        labels = pd.concat([table["label"] for table in [*self.attacks.values(), *self.verifiers.values()]])
        return labels.groupby(level=0).first()

    def correct(self) -> pd.Series:
        """Which images are classified correctly, over all that any table has seen."""
        tables = [*self.attacks.values(), *self.verifiers.values()]
        correct = pd.concat([table["prediction"] == table["label"] for table in tables])
        return correct.groupby(level=0).all()

    def robust(self) -> pd.Series:
        """Which images survive every attack, over those that every attack has seen."""
        return _combine(self.attacks, "robust", np.logical_and)

    def verified(self) -> pd.Series:
        """Which images some verifier proves, over those that every verifier has seen."""
        return _combine(self.verifiers, "verified", np.logical_or)


def read_outcomes(path: Path, attacks: list[str], verifiers: list[str], smoothed: list[str]) -> Outcomes:
    """The tables of the checkpoint at `path` (without suffix).

    Raises SparrowError if a file is not an outcome table, ContradictionError if an image is both verified and broken.
    """
    outcomes = Outcomes(
        path,
        {name: _read(path / "attacks" / f"{name}.csv", "attacks") for name in attacks},
        {name: _read(path / "verifiers" / f"{name}.csv", "verifiers") for name in verifiers if name not in smoothed},
        {name: _read(path / "verifiers" / f"{name}.csv", "verifiers") for name in smoothed},
    )
    _check(outcomes)
    return outcomes


def _read(path: Path, role: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable outcome table ({error})") from None
    if list(table.columns) != COLUMNS:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {COLUMNS}")
    unknown = sorted(set(table["status"].dropna()) - set(STATUS[role]))
    faults = {
        "no rows": table.empty,
        f"the status {', '.join(map(repr, unknown))}": bool(unknown),
        "a row that is cut off": table.isna().any(axis=None),
        "an image twice": table["index"].duplicated().any(),
        f"a wrong prediction that is {STATUS[role][0]}": (
            (table["status"] == STATUS[role][0]) & (table["prediction"] != table["label"])
        ).any(),
    }
    for fault, present in faults.items():
        if present:
            raise SparrowError(f"{path}: has {fault}; valid: one row per image, status {', '.join(STATUS[role])}")
    return table.set_index("index")


def _check(outcomes: Outcomes) -> None:
    """A sample both verified and broken at the same norm and radius is a bug somewhere: no number may rest on it."""
    labels = pd.concat([table["label"] for table in [*outcomes.attacks.values(), *outcomes.verifiers.values()]])
    several = labels.groupby(level=0).nunique() > 1
    if several.any():
        raise ContradictionError(f"{outcomes.path}: image {several.idxmax()} has different labels in different tables")
    for verifier, proofs in outcomes.verifiers.items():
        verified = proofs[proofs["status"] == "verified"]
        for attack, tries in outcomes.attacks.items():
            broken = tries[tries["status"] == "broken"]
            both = verified.merge(broken, left_index=True, right_index=True, suffixes=("", "_attack"))
            both = both[(both["norm"] == both["norm_attack"]) & (both["eps"] == both["eps_attack"])]
            if len(both):
                raise ContradictionError(
                    f"{outcomes.path}: image {both.index[0]} is verified by {verifier} and broken by {attack} at "
                    f"{both['norm'].iloc[0]} eps {both['eps'].iloc[0]:g} ({len(both)} such images); nothing was aggregated"
                )


def _combine(tables: dict[str, pd.DataFrame], status: str, how: np.ufunc) -> pd.Series:
    if not tables:
        return pd.Series(dtype=bool)
    seen = reduce(pd.Index.intersection, [table.index for table in tables.values()])
    hits = [(table.loc[seen, "status"] == status).to_numpy() for table in tables.values()]
    return pd.Series(how.reduce(hits), index=seen).sort_index()
