"""Bits and bytes that a network's weights take where they are stored. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

FULL = 32
"""Bits of a weight that is not rounded, of a bias, of a norm's parameter and of a step."""
STORED = ["bits", "weight_bytes", "index_bytes", "other_bytes"]
"""Columns of the summary, in studies with rounded networks."""


def storage(
    parameters: Mapping[str, np.ndarray],
    prunable: Collection[str],
    bits: float | None,
    layer_bits: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Values of `STORED` for the parameters of a network at its physical size, those that are `prunable` rounded to `bits`.

    Where each has its own, `layer_bits`, `bits` is their average over the weights that were not zero before they were rounded.
    `weight_bytes` are those of the prunable weights that are not zero. `index_bytes` say which these are: a bit for each
    weight, or the zeros themselves where that is less, as in dense networks. `other_bytes` are those of biases and norms, at
    32 bits, and of the steps of rounded channels.
    """
    weights = {name: parameters[name] for name in prunable}
    width: dict[str, float] = dict.fromkeys(weights, bits or FULL) | dict(layer_bits or {})
    nonzero = {name: int(np.count_nonzero(weight)) for name, weight in weights.items()}
    number = sum(weight.size for weight in weights.values())
    others = sum(parameter.size for parameter in parameters.values()) - number
    steps = sum(int(weight.reshape(len(weight), -1).any(axis=1).sum()) for weight in weights.values()) if bits else 0
    return {
        "bits": bits or FULL,
        "weight_bytes": math.ceil(sum(nonzero[name] * width[name] for name in weights) / 8),
        "index_bytes": math.ceil(min(number, sum((weights[name].size - nonzero[name]) * width[name] for name in weights)) / 8),
        "other_bytes": (others + steps) * FULL // 8,
    }
