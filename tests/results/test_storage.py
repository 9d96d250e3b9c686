"""Bytes that weights take, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparrow.results.storage import storage

# Two layers of 12 and 4 weights; five are left of the first, in two channels of its three, and all of the second.
WEIGHTS = {
    "0.weight": np.array([[1, 0, 1, 0], [0, 0, 0, 0], [2, 2, 2, 0]], dtype=np.float32),
    "0.bias": np.zeros(3, dtype=np.float32),
    "1.weight": np.ones((2, 2), dtype=np.float32),
    "1.bias": np.ones(2, dtype=np.float32),
}
PRUNABLE = ["0.weight", "1.weight"]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # Nine weights of 32 bits; a bit for each of 16 weights; five biases.
        (None, {"bits": 32, "weight_bytes": 36, "index_bytes": 2, "other_bytes": 20}),
        # Four steps besides.
        (8, {"bits": 8, "weight_bytes": 9, "index_bytes": 2, "other_bytes": 36}),
        # 27 bits are four bytes.
        (3, {"bits": 3, "weight_bytes": 4, "index_bytes": 2, "other_bytes": 36}),
    ],
)
def test_a_network_counted_by_hand(bits: int | None, expected: dict[str, int]) -> None:
    assert storage(WEIGHTS, PRUNABLE, bits) == expected


def test_layers_with_bits_of_their_own_counted_by_hand() -> None:
    # Five weights of 2 bits and four of 8: 42 bits. Seven zeros of 2 bits are less than a bit for each of 16 weights.
    found = storage(WEIGHTS, PRUNABLE, 42 / 9, {"0.weight": 2, "1.weight": 8})
    assert found == {"bits": 42 / 9, "weight_bytes": 6, "index_bytes": 2, "other_bytes": 36}


def test_zeros_are_stored_themselves_where_that_is_less_than_saying_where_they_are() -> None:
    dense = np.ones((1, 100), dtype=np.float32)
    assert storage({"0.weight": dense}, ["0.weight"], None)["index_bytes"] == 0
    dense[0, 0] = 0
    # One zero of eight bits, in the place of a hundred bits.
    assert storage({"0.weight": dense}, ["0.weight"], 8) == {"bits": 8, "weight_bytes": 99, "index_bytes": 1, "other_bytes": 4}
