"""Files `*.cost.json`, beside each job's output. Imports no torch."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sparrow.errors import SparrowError


def read_cost(path: Path) -> dict[str, float]:
    """The numbers in a `*.cost.json` by name, `seconds` among them. Raises SparrowError, naming the file, if it has none."""
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SparrowError(f"{path}: not the cost of a job ({error}); delete it and run again") from None
    if not isinstance(cost, dict) or "seconds" not in cost:
        raise SparrowError(f"{path}: not the cost of a job; valid: at least seconds; delete it and run again")
    wrong = [key for key, value in cost.items() if type(value) not in (int, float) or not math.isfinite(value)]
    if wrong:
        raise SparrowError(f"{path}: {wrong[0]} is {cost[wrong[0]]!r}; valid: a number; delete it and run again")
    return cost
