"""What an outcome table holds: one row per test image, for one checkpoint and one attack or verifier."""

_FIRST, _LAST = ["index", "label", "prediction", "status", "margin"], ["norm", "eps"]

COLUMNS = {"attacks": [*_FIRST, "distance", *_LAST], "verifiers": [*_FIRST, "decided", *_LAST]}
"""Index in the data set, label, benign prediction, status, margin (logits; a bound for verifiers), and the threat.

`distance`: how far away (in the threat's norm) the nearest image is that the attack fooled the network with; 0 where the
network is wrong as it is, inf where the attack failed. `decided`: the bound that decided, or `misclassified`, `attack`
(an adversarial example that an attack had found), or `nothing`.
"""

FAILED = ["failed"]
"""Columns of the table of a network that could not be evaluated: one row, which says why."""

STATUS = {"attacks": ("robust", "broken"), "verifiers": ("verified", "falsified", "unknown")}
"""What a status may be; `broken` and `falsified` include images that the network gets wrong as they are."""

STABILITY = ["layer", "neurons", "active", "inactive", "unstable", "images"]
"""Columns of a table of stable ReLUs: the layer, counted from the image; its neurons; of these, means over images: always on,
always off, neither; and how many images."""

MISCLASSIFIED, ATTACK, NOTHING = "misclassified", "attack", "nothing"
"""What decides an image besides a bound."""

ABSTAINED = -1
"""The prediction of a smoothed classifier that has none."""
