"""What an outcome table holds: one row per test image, for one checkpoint and one attack or verifier."""

COLUMNS = ["index", "label", "prediction", "status", "margin", "norm", "eps"]
"""Index in the data set, label, benign prediction, status, margin (logits; a bound for verifiers), and the threat."""

STATUS = {"attacks": ("robust", "broken"), "verifiers": ("verified", "falsified", "unknown")}
"""What a status may be; `broken` and `falsified` include images that the network gets wrong as they are."""

ABSTAINED = -1
"""The prediction of a smoothed classifier that has none."""
