"""What a job cost, as it lies beside what the job made. Imports no torch."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sparrow.errors import SparrowError

KEYS = ("seconds", "peak_memory_mb", "gradient_evaluations")


def read_cost(path: Path, keys: tuple[str, ...] = KEYS) -> dict[str, float]:
    """The numbers in a `*.cost.json`, of which `keys` are there. Raises SparrowError, naming the file, if it is not one."""
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not the cost of a job ({error}); delete it and run again") from None
    if not isinstance(cost, dict) or any(key not in cost for key in keys):
        raise SparrowError(f"{path}: not the cost of a job; valid: {', '.join(keys)}; delete it and run again")
    wrong = [key for key, value in cost.items() if type(value) not in (int, float) or not math.isfinite(value)]
    if wrong:
        raise SparrowError(f"{path}: {wrong[0]} is {cost[wrong[0]]!r}; valid: a number; delete it and run again")
    return cost
