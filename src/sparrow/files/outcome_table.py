"""Columns of outcome tables (a row per test image, for one checkpoint and one attack or verifier), and checks of these."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sparrow import radius
from sparrow.errors import SparrowError

if TYPE_CHECKING:  # Without pydantic at run time: many readers need only a table's origin.
    from sparrow.settings import Threat

ORIGIN = ["network", "data", "spec"]
"""Columns that identify a table, the same in each row: the first digits of the digests of its network's content, of its data
set's, and of the job's spec without its code."""

_FIRST, _LAST = ["index", "label", "prediction", "status", "margin"], ["norm", "eps", "eps_text", *ORIGIN]

COLUMNS = {
    "attacks": [*_FIRST, "distance", "zero_gradient", "found_by", "flags", *_LAST],
    "verifiers": [*_FIRST, "decided", *_LAST],
}
"""Index in the data set, label, benign prediction, status, margin (logits; a bound for verifiers), and the threat, its radius
as a number with all digits and as people write it.

`distance`: how far away (in the threat's norm) the nearest image is that the attack fooled the network with; 0 where the
network is wrong as it is, inf where the attack failed. `decided`: the bound that decided, or `misclassified`, `attack`
(an adversarial example that an attack had found), or `nothing`.

An attack's margin is that of the image it returned, within the ball: the smallest that AutoAttack has seen there, and where
PGD's last walk ended. `zero_gradient`: 1 where the attack's gradient was exactly 0 where it started, else 0; empty where
nothing was attacked, and where that is not known. `found_by`: the part of the attack that found the adversarial image (of
an attack without parts, its kind), `misclassified`, or empty. `flags`: why the whole table may say little, or empty; the
same in every row.
"""

MAY_BE_EMPTY = ["zero_gradient", "found_by", "flags"]
"""Columns that may have empty cells."""

FAILED = ["failed", *ORIGIN]
"""Columns of the table of a network that could not be evaluated: one row, with the reason in `failed`."""

STATUS = {"attacks": ("robust", "broken"), "verifiers": ("verified", "falsified", "unknown")}
"""Valid values of `status`; `broken` and `falsified` include images that are misclassified without a perturbation."""

TEXT = dict.fromkeys(ORIGIN, str)
"""The dtype for pandas of the columns `ORIGIN`: some digests look like numbers."""

ORIGIN_NOUNS = {"network": "network than lies there now", "data": "data set", "spec": "configuration"}
"""The words for each of `ORIGIN` in messages."""

MISCLASSIFIED, ATTACK, NOTHING = "misclassified", "attack", "nothing"
"""Values of `decided` that are no bounds."""

ABSTAINED = -1
"""The prediction of a smoothed classifier that abstains."""


def origin(path: Path) -> dict[str, str]:
    """The values of the columns `ORIGIN` in the table's first row, by column; empty if it is no such table."""
    try:
        with open(path, newline="") as file:
            row = next(csv.DictReader(file), {})
    except (OSError, ValueError, csv.Error):
        return {}
    return {name: row[name] for name in ORIGIN if row.get(name)}


def require_origin(path: Path, rows: Iterable[tuple[str | None, ...]], expected: Mapping[str, str | None]) -> None:
    """Raise SparrowError if a row differs from `expected`: values by name, of `ORIGIN`; None for those that are not checked.

    `rows` are the values of the table's rows in the columns that `expected` names, in that order.
    """
    for found in dict.fromkeys(rows):
        for (name, value), own in zip(expected.items(), found, strict=True):
            if value is not None and own != value:
                raise SparrowError(f"{path}: is about another {ORIGIN_NOUNS[name]} (column {name} {own}, expected {value})")


def require_whole(path: Path, rows: list[int]) -> None:
    """Raise SparrowError if the length of `rows`, a table's column of that name, is not the number that each row states."""
    wrong = [number for number in rows if number != len(rows)]
    if wrong:
        raise SparrowError(f"{path}: has {len(rows)} rows, and had {wrong[0]} when it was written")


def verified_images(path: Path, threat: Threat, about: dict[str, str | None] | None = None) -> set[int]:
    """Indices of the images that a verifier's table has as `verified`; empty if the network could not be evaluated.

    Raises SparrowError for a file that is no such table, and for one of another threat or of another origin than `about`
    (see `require_origin`).
    """
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames
        if columns == FAILED:
            return set()
        if columns != COLUMNS["verifiers"] or not rows:
            raise ValueError(f"valid: the columns {', '.join(COLUMNS['verifiers'])}, and a row for each image")
        threats = {(row["norm"], float(row["eps"])) for row in rows}
        found = {int(row["index"]) for row in rows if row["status"] == "verified"}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise SparrowError(f"{path}: not a readable outcome table ({error})") from None
    try:
        require_origin(path, (tuple(row[name] for name in about or {}) for row in rows), about or {})
    except SparrowError as error:
        raise SparrowError(f"{error}; delete it and run again") from None
    for norm, eps in threats:
        if (norm, eps) != (threat.norm, threat.eps):
            there, valid = radius.text(eps), radius.text(threat.eps)
            raise SparrowError(f"{path}: verifies against {norm} eps {there}; valid: {threat.norm} eps {valid}")
    return found
