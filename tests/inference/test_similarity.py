"""Similarity of representations: worked out by hand, and what must not change it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparrow.inference.similarity import Similarity, centred, products, similarity


def compare(first: list | Tensor, second: list | Tensor, variance: float = 0.99) -> Similarity:
    one, other = (centred(torch.as_tensor(rows, dtype=torch.float32)) for rows in (first, second))
    return similarity(products(one, other), one.shape[1], variance)


CROSS = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
NOISE = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))


def test_a_linear_map_loses_no_direction() -> None:
    found = compare(CROSS, torch.tensor(CROSS) @ torch.tensor([[2.0, 1.0], [0.0, 3.0]]))
    assert found[:4] == (2, 2, pytest.approx(1), pytest.approx(1))
    # CKA sees how variance is shared out: |M|^2 / (sqrt(2) |M'M|), with M'M = [[4, 2], [2, 10]].
    assert found.cka == pytest.approx(14 / (2**0.5 * 124**0.5))


def test_directions_that_have_nothing_in_common() -> None:
    found = compare([[row[0]] for row in CROSS], [[row[1]] for row in CROSS])
    assert found == (1, 1, pytest.approx(0), pytest.approx(0), pytest.approx(0))


def test_two_columns_by_hand() -> None:
    found = compare([[1.0], [-1.0], [0.0], [0.0]], [[1.0], [-1.0], [1.0], [-1.0]])
    assert found == (1, 1, pytest.approx(0.5**0.5), pytest.approx(0.5**0.5), pytest.approx(0.5))


def test_of_a_layer_that_dies_less_is_retained_though_the_rest_is_perfectly_alike() -> None:
    # One of two directions is left: the mean over what is left rises to 1, the share of the first's subspace is a half.
    found = compare(CROSS, [[row[0], 0.0] for row in CROSS])
    assert found[:4] == (2, 1, pytest.approx(0.5), pytest.approx(1))
    assert found.cka == pytest.approx(0.5**0.5)


def test_a_network_that_has_fewer_channels_is_compared_all_the_same() -> None:
    found = compare(NOISE, NOISE[:, [0, 2, 3]])
    assert (found.first, found.second) == (6, 3)
    assert (found.retained, found.correlation) == (pytest.approx(0.5, abs=1e-6), pytest.approx(1))


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
def test_scale_shift_and_rotation_change_nothing(variance: float) -> None:
    turned = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2))).Q
    other = NOISE + 0.5 * torch.randn(200, 6, generator=torch.Generator().manual_seed(3))
    expected = compare(NOISE, other, variance)
    assert 0.3 < expected.retained < 1
    assert compare(7 * NOISE @ turned - 3, other @ turned.T + 100, variance) == pytest.approx(expected, rel=1e-4)


def test_the_fewest_directions_that_hold_the_variance_stay() -> None:
    # Orthogonal columns of variances 90, 9 and 1.
    signs = torch.tensor([[a, b, c] for a in (1.0, -1.0) for b in (1.0, -1.0) for c in (1.0, -1.0)])
    rows = signs * torch.tensor([90.0, 9.0, 1.0]).sqrt()
    assert [compare(rows, rows, variance).first for variance in (0.5, 0.899, 0.901, 0.989, 0.991)] == [1, 1, 2, 2, 3]


def test_canonical_correlations_are_those_of_orthonormal_bases() -> None:
    # As the released code of SVCCA has them, from the rows themselves.
    other = NOISE[:, :4] @ torch.randn(4, 5, generator=torch.Generator().manual_seed(4)) + NOISE[:, 1:]
    bases = []
    for rows in (NOISE, other):
        left, values, _ = torch.linalg.svd((rows - rows.mean(dim=0)).double(), full_matrices=False)
        share = values.square().cumsum(0) / values.square().sum()
        bases.append(left[:, : int((share < 0.99).sum()) + 1])
    expected = torch.linalg.svdvals(bases[0].T @ bases[1])
    found = compare(NOISE, other)
    assert (found.first, found.second) == tuple(base.shape[1] for base in bases)
    assert found.correlation == pytest.approx(float(expected.mean()))
    assert found.retained == pytest.approx(float(expected.sum()) / found.first)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_layer_retains_nothing(constant: float) -> None:
    found = compare(NOISE, torch.full((200, 3), constant))
    assert found[:3] == (6, 0, 0)
    assert found.correlation != found.correlation
    assert found.cka != found.cka
    found = compare(torch.full((200, 3), constant), NOISE)
    assert found[:2] == (0, 6)
    assert found.retained != found.retained


def test_sums_of_parts_are_those_of_all_rows() -> None:
    first, second = centred(NOISE), centred(NOISE[:, :2].square())
    parts = [products(first[rows], second[rows]) for rows in torch.arange(200).split(37)]
    assert torch.allclose(sum(parts), products(first, second))
    # A part has a mean of its own, which is taken off there.
    part = similarity(parts[0], 6, 0.99)
    assert part == pytest.approx(compare(NOISE[:37], NOISE[:37, :2].square()), rel=1e-5)
