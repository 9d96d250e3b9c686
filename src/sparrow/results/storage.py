"""Bits and bytes that a network's weights take where they are stored. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

FULL = 32
"""Bits of a weight that is not rounded, of a bias, of a norm's parameter and of a step."""
STORED = ["bits", "weight_bytes", "index_bytes", "other_bytes"]
"""Columns of the summary, in studies with rounded networks."""


def storage(parameters: Mapping[str, np.ndarray], prunable: Collection[str], bits: int | None) -> dict[str, int]:
    """Values of `STORED` for the parameters of a network at its physical size, those that are `prunable` rounded to `bits`.

    `weight_bytes` are those of the prunable weights that are not zero. `index_bytes` say which these are: a bit for each
    weight, or the zeros themselves where that is less, as in dense networks. `other_bytes` are those of biases and norms, at
    32 bits, and of the steps of rounded channels.
    """
    weights = [parameters[name] for name in prunable]
    width = bits or FULL
    nonzero = sum(int(np.count_nonzero(weight)) for weight in weights)
    number = sum(weight.size for weight in weights)
    others = sum(parameter.size for parameter in parameters.values()) - number
    steps = sum(int(weight.reshape(len(weight), -1).any(axis=1).sum()) for weight in weights) if bits else 0
    return {
        "bits": width,
        "weight_bytes": math.ceil(nonzero * width / 8),
        "index_bytes": math.ceil(min(number, (number - nonzero) * width) / 8),
        "other_bytes": (others + steps) * FULL // 8,
    }
