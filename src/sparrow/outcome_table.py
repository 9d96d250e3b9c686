"""What an outcome table holds: one row per test image, for one checkpoint and one attack or verifier."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from sparrow.errors import SparrowError
from sparrow.settings import Threat

_FIRST, _LAST = ["index", "label", "prediction", "status", "margin"], ["norm", "eps"]

COLUMNS = {
    "attacks": [*_FIRST, "distance", "zero_gradient", "found_by", "flags", *_LAST],
    "verifiers": [*_FIRST, "decided", *_LAST],
}
"""Index in the data set, label, benign prediction, status, margin (logits; a bound for verifiers), and the threat.

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
"""Columns whose cells may be."""

FAILED = ["failed"]
"""Columns of the table of a network that could not be evaluated: one row, which says why."""

STATUS = {"attacks": ("robust", "broken"), "verifiers": ("verified", "falsified", "unknown")}
"""What a status may be; `broken` and `falsified` include images that the network gets wrong as they are."""

STABILITY = ["layer", "neurons", "active", "inactive", "unstable", "images"]
"""Columns of a table of stable ReLUs: the layer, counted from the image; its neurons; of these, means over images: always on,
always off, neither; and how many images."""

LATENCY = ["dataset", "model", "objective", "method", "ratio", "seed", "stage", "form", "runtime", "batch_size"]
LATENCY += ["milliseconds", "speedup", "speedup_low", "speedup_high", "threads", "device"]
"""Columns of a table of latencies: a checkpoint; whether it was timed as it is (`dense`, `masked`) or without its pruned
filters (`compact`), by what, on how many images; milliseconds of a forward pass, and how many times as fast as the dense
network by the same."""

MISCLASSIFIED, ATTACK, NOTHING = "misclassified", "attack", "nothing"
"""What decides an image besides a bound."""

ABSTAINED = -1
"""The prediction of a smoothed classifier that has none."""


def verified(path: Path, threat: Threat) -> set[int]:
    """Indices of the images that a verifier's table verifies; none, if it could not verify the network.

    Raises SparrowError for a file that is no such table, and for one about another threat.
    """
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames
        if columns == FAILED:
            return set()
        if columns != COLUMNS["verifiers"] or not rows:
            raise ValueError(f"valid: the columns {', '.join(COLUMNS['verifiers'])}, and a row for each image")
        about = {(row["norm"], float(row["eps"])) for row in rows}
        found = {int(row["index"]) for row in rows if row["status"] == "verified"}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise SparrowError(f"{path}: not a readable outcome table ({error})") from None
    for norm, eps in about:
        # Tables have six digits.
        if norm != threat.norm or not math.isclose(eps, threat.eps, rel_tol=1e-5):
            raise SparrowError(f"{path}: verifies against {norm} eps {eps:g}; valid: {threat.norm} eps {threat.eps:g}")
    return found
