"""All outcome tables of one checkpoint, and the check that they do not contradict each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from sparrow.errors import ContradictionError, SparrowError
from sparrow.files.csv_table import EXACT
from sparrow.files.outcome_table import COLUMNS, FAILED, MAY_BE_EMPTY, MISCLASSIFIED, STATUS, TEXT
from sparrow.files.paths import outcome_job, table_below
from sparrow.radius import text
from sparrow.results.specs.outcomes import OutcomeTables

BLIND_SHARE = 0.002
"""The share of the images that an attack without gradients may break after all others, as in AutoAttack's package."""
SLACK = 1e-5
"""Relative difference up to which two distances count as equal: the tables have six digits."""


@dataclass(frozen=True)
class Outcomes:
    """The tables of one checkpoint by attack and by verifier, each indexed by image.

    Tables of verifiers of a smoothed classifier are in `smoothed`: it is another classifier. `eps` is the threat's radius,
    `minimum_norm` names the attacks that seek the nearest adversarial image, `not_in_era` those that do not count for the
    era, `transferred` those that try what was found against the dense network, and `failed` has the reason why a table of a
    room (`attacks`, `verifiers`) is missing: metrics over all of the room's tables are then unknown.
    """

    path: Path
    attacks: dict[str, pd.DataFrame]
    verifiers: dict[str, pd.DataFrame]
    smoothed: dict[str, pd.DataFrame]
    eps: float
    minimum_norm: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_in_era: list[str] = field(default_factory=list)
    transferred: list[str] = field(default_factory=list)

    def labels(self) -> pd.Series:
        """Labels by image, of all images in any table."""
        return _stacked(table["label"] for table in self._all()).groupby(level=0).first()

    def _all(self) -> list[pd.DataFrame]:
        return [*self.attacks.values(), *self.verifiers.values()]

    def correct(self) -> pd.Series:
        """Whether each image in any table is classified correctly, by image."""
        hits = _stacked(table["prediction"] == table["label"] for table in self._all())
        return hits.groupby(level=0).all().astype(bool)

    def predictions(self) -> pd.Series:
        """The class that the network names for each image in any table, by image."""
        return _stacked(table["prediction"] for table in self._all()).groupby(level=0).first()

    def constant(self) -> bool | None:
        """Whether the network answers with one class for all images; None if the images are all of one class."""
        predictions = _stacked(table["prediction"] for table in self._all())
        return None if self.labels().nunique() < 2 else predictions.nunique() == 1

    def chance(self) -> float:
        """The share of the most frequent class among all images in any table; NaN without images."""
        return float(self.labels().value_counts(normalize=True).max())

    def robust(self, eps: float | None = None) -> pd.Series:
        """Whether no attack fools the network within `eps` (the threat's, if None), by image.

        Of the images that every attack that was run at this radius or seeks the nearest adversarial image has evaluated;
        empty if there is no such attack. What any other attack found within the radius counts, too. At the threat's own
        radius, where this is the era, attacks that are `not_in_era` do not count.
        """
        eps = self.eps if eps is None else eps
        apart = self.not_in_era if same(eps, self.eps) else ()
        attacks = {name: table for name, table in self.attacks.items() if name not in apart}
        asked = [table for name, table in attacks.items() if name in self.minimum_norm or same(radius(table), eps)]
        seen = _common(() if "attacks" in self.failed else asked)
        broken = [_broken(table, eps).reindex(seen, fill_value=False) for table in attacks.values()]
        return ~_any(broken, seen)

    def verified(self, eps: float | None = None) -> pd.Series:
        """Whether some verifier proves robustness within `eps` (the threat's, if None), by image.

        Of the images that every verifier that was run at this radius has evaluated; empty if there is no such verifier. A
        proof for a larger radius counts, too.
        """
        eps = self.eps if eps is None else eps
        asked = [table for table in self.verifiers.values() if same(radius(table), eps)]
        seen = _common(() if "verifiers" in self.failed else asked)
        enough = [table for table in self.verifiers.values() if radius(table) >= eps or same(radius(table), eps)]
        return _any([(table["status"] == "verified").reindex(seen, fill_value=False) for table in enough], seen)

    def warnings(self) -> dict[str, str]:
        """By attack, why its table may say little, or what it says of the others; empty where there is nothing."""
        found = {name: warnings_of(table) for name, table in self.attacks.items()}
        for name in self.transferred:
            found[name] = "; ".join(filter(None, (found[name], self._masked(name))))
        return found

    def _masked(self, name: str) -> str:
        """What tells masked gradients: images that an attack breaks which searches nothing, and those that search do not.

        Of the images that all attacks at its radius, or for any, have evaluated. As for parts of an attack that take no
        gradients (`sparrow.stages._attack_warnings`), a share of `BLIND_SHARE` is what chance may do.
        """
        table = self.attacks[name]
        own = {other: tries for other, tries in self.attacks.items() if other not in self.transferred}
        asked = [tries for other, tries in own.items() if other in self.minimum_norm or same(radius(tries), radius(table))]
        seen = _common([table, *asked] if asked else [])
        known = _any([_broken(tries, radius(table)).reindex(seen, fill_value=False) for tries in own.values()], seen)
        alone = int((_broken(table, radius(table)).reindex(seen, fill_value=False) & ~known).sum())
        if alone <= BLIND_SHARE * len(seen):
            return ""
        return (
            f"{alone} of {len(seen)} images fall to adversarial images of the dense network, and to no attack on the network "
            "itself: its gradients are masked, or these attacks too weak"
        )


def same(first: float, second: float) -> bool:
    """Whether two radii are equal up to SLACK."""
    return abs(first - second) <= SLACK * second


def read_outcomes(path: Path, spec: OutcomeTables) -> Outcomes:
    """The outcomes of the checkpoint at `path` (without suffix), from the tables that `spec` names, against its threat.

    Raises SparrowError if a file is not an outcome table, ContradictionError if an image is both verified and broken.
    """
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    failed: dict[str, str] = {}
    for room, names in (("attacks", spec.attacks), ("verifiers", spec.verifiers)):
        read = {name: _read(table_below(path, outcome_job(room, name)), room) for name in names}
        tables[room] = {name: table for name, table in read.items() if isinstance(table, pd.DataFrame)}
        # A smoothed classifier's own failure says nothing of the network, one of an attack that does not count nothing of era.
        for name, reason in read.items():
            if isinstance(reason, str):
                failed.setdefault("apart" if name in (*spec.smoothed, *spec.not_in_era) else room, reason)
    smoothed = {name: tables["verifiers"].pop(name) for name in spec.smoothed if name in tables["verifiers"]}
    outcomes = Outcomes(
        path,
        tables["attacks"],
        tables["verifiers"],
        smoothed,
        spec.threat.eps,
        minimum_norm=[name for name in spec.minimum_norm if name in tables["attacks"]],
        failed=failed,
        not_in_era=[name for name in spec.not_in_era if name in tables["attacks"]],
        transferred=[name for name in spec.transferred if name in tables["attacks"]],
    )
    _check(outcomes)
    return outcomes


def _read(path: Path, role: str) -> pd.DataFrame | str:
    """A table, or the reason why there is none."""
    try:
        table = pd.read_csv(path, dtype=TEXT, converters=EXACT)
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not a readable outcome table ({error})") from None
    if list(table.columns) == FAILED and len(table) == 1:
        return str(table.iloc[0, 0])
    if list(table.columns) != COLUMNS[role]:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {COLUMNS[role]}")
    unknown = sorted(set(table["status"].dropna()) - set(STATUS[role]))
    faults = {
        "no rows": table.empty,
        f"the status {', '.join(map(repr, unknown))}": bool(unknown),
        "a row that is cut off": table.drop(columns=MAY_BE_EMPTY, errors="ignore").isna().any(axis=None),
        "an image twice": table["index"].duplicated().any(),
        "several radii": table["eps"].nunique() > 1,
        f"a wrong prediction that is {STATUS[role][0]}": (
            (table["status"] == STATUS[role][0]) & (table["prediction"] != table["label"])
        ).any(),
    }
    for fault, present in faults.items():
        if present:
            raise SparrowError(f"{path}: has {fault}; valid: one row per image, status {', '.join(STATUS[role])}")
    return table.set_index("index")


def _check(outcomes: Outcomes) -> None:
    """Raise ContradictionError if labels differ between tables, or an image is both verified and broken at one radius."""
    labels = _stacked(table["label"] for table in outcomes._all())
    several = labels.groupby(level=0).nunique() > 1
    if several.any():
        raise ContradictionError(f"{outcomes.path}: image {several.idxmax()} has different labels in different tables")
    for verifier, proofs in outcomes.verifiers.items():
        verified = proofs[proofs["status"] == "verified"]
        for attack, tries in outcomes.attacks.items():
            if tries["norm"].iloc[0] != proofs["norm"].iloc[0]:
                continue
            both = verified.index[_broken(tries, radius(proofs)).reindex(verified.index, fill_value=False)]
            if len(both):
                raise ContradictionError(
                    f"{outcomes.path}: image {both[0]} is verified by {verifier} and broken by {attack} at "
                    f"{_threat(proofs)} ({len(both)} such images); nothing was aggregated"
                )

    for verifier, proofs in outcomes.verifiers.items():
        proven = proofs.index[proofs["status"] == "verified"]
        for other, table in outcomes.verifiers.items():
            refuted = table[(table["status"] == "falsified") & (table["decided"] != MISCLASSIFIED)]
            if table["norm"].iloc[0] != proofs["norm"].iloc[0]:
                continue
            if not len(refuted) or (radius(table) > radius(proofs) and not same(radius(table), radius(proofs))):
                continue
            both = proven.intersection(refuted.index)
            if len(both):
                raise ContradictionError(
                    f"{outcomes.path}: image {both[0]} is verified by {verifier} and falsified by {other} at "
                    f"{_threat(proofs)} ({len(both)} such images); nothing was aggregated"
                )


def radius(table: pd.DataFrame) -> float:
    """The radius of a table."""
    return float(table["eps"].iloc[0])


def _threat(table: pd.DataFrame) -> str:
    return f"{table['norm'].iloc[0]} eps {text(radius(table))}"


def warnings_of(table: pd.DataFrame) -> str:
    """The flags of an attack's table, reasons why it may overstate robustness; empty without any, and for a verifier's."""
    return "; ".join(sorted(set(table["flags"].dropna()))) if "flags" in table else ""


def _broken(table: pd.DataFrame, eps: float) -> pd.Series:
    """Which images of an attack's table are broken within `eps`."""
    if same(radius(table), eps):
        return table["status"] == "broken"
    return table["distance"] <= eps * (1 - SLACK)


def _stacked(columns: Iterable[pd.Series]) -> pd.Series:
    """All columns in one; an empty one, if there are none."""
    parts = list(columns)
    return pd.concat(parts) if parts else pd.Series([], index=pd.Index([], dtype=int), dtype=bool)


def _common(tables: Iterable[pd.DataFrame]) -> pd.Index:
    """The images that are in all tables, sorted; empty, if there are no tables."""
    indices = [table.index for table in tables]
    return reduce(pd.Index.intersection, indices).sort_values() if indices else pd.Index([], dtype=int)


def _any(hits: list[pd.Series], seen: pd.Index) -> pd.Series:
    return pd.Series(
        np.logical_or.reduce([series.to_numpy(dtype=bool) for series in hits]) if hits else [], index=seen, dtype=bool
    )
