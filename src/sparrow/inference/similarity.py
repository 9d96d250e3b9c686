"""How alike two layers represent the same images: canonical correlations and linear CKA, from sums of products alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-12
"""Variance, relative to the mean square, that is none."""


class Similarity(NamedTuple):
    """How much of a first representation there is in a second one."""

    first: int
    """Directions of the first that hold the asked share of its variance."""
    second: int
    retained: float
    """Sum of the canonical correlations over `first`: the share of the first's subspace that is left. NaN if `first` is 0."""
    correlation: float
    """Their mean, over the smaller number of directions. NaN if that is 0."""
    cka: float
    """Linear centred kernel alignment, from 0 to 1. NaN if one of the two does not vary."""


def centred(rows: Tensor) -> Tensor:
    """`rows` (n, k), less their mean, in float64; exactly 0 in columns that do not vary."""
    rows = rows.double()
    return (rows - rows.mean(dim=0)) * (rows.amax(dim=0) > rows.amin(dim=0))


def products(first: Tensor, second: Tensor) -> Tensor:
    """Sums over the rows of `first` (rows, k) and `second` (rows, l) of all products of two columns, one of ones in front.

    (1 + k + l, 1 + k + l). Those of two sets of rows, added, are those of both.
    """
    both = torch.cat([torch.ones_like(first[:, :1]), first, second], dim=1)
    return both.T @ both


def similarity(found: Tensor, columns: int, variance: float) -> Similarity:
    """The similarity of two representations whose `products` these are; the first has `columns` of them.

    Of each, the fewest leading directions stay that hold the share `variance` (below 1) of its variance; the canonical
    correlations are the singular values of U'V, where U and V are orthonormal bases of these. The directions that stay have no
    small variance, so that second moments are precise enough for them.
    """
    sums, squares = found[0, 1:], found[1:, 1:]
    moments = squares - torch.outer(sums, sums) / found[0, 0]
    own, other, shared = moments[:columns, :columns], moments[columns:, columns:], moments[:columns, columns:]
    whitenings = [
        _whitening(block, variance, float(raw.trace()))
        for block, raw in ((own, squares[:columns, :columns]), (other, squares[columns:, columns:]))
    ]
    first, second = (whitening.shape[1] for whitening in whitenings)
    if not first or not second:
        return Similarity(first, second, 0.0 if first else float("nan"), float("nan"), float("nan"))
    correlations = torch.linalg.svdvals(whitenings[0].T @ shared @ whitenings[1]).clamp(max=1)
    total = float(correlations.sum())
    cka = float(shared.square().sum() / (own.norm() * other.norm()))
    return Similarity(first, second, total / first, total / min(first, second), cka)


def _whitening(moments: Tensor, variance: float, squares: float) -> Tensor:
    """Directions (k, d), each over its standard deviation: the fewest that hold the share `variance`; none if constant."""
    values, vectors = torch.linalg.eigh(moments)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    total = values.sum()
    if total <= ROUNDING * squares:
        return vectors[:, :0]
    # Of equal directions, rounding must not ask for one more.
    kept = int((values.cumsum(0) < variance * (1 - ROUNDING) * total).sum()) + 1
    return vectors[:, :kept] / values[:kept].sqrt()
