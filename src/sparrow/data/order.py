"""A random order of the images of an epoch in which two kinds are mixed in a fixed proportion."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed_order(own: int, extra: int, share: float, generator: torch.Generator) -> Tensor:
    """Indices (own,), int64, in random order: the share `share` are of the last `extra` images, the others of the first `own`.

    Each batch has this proportion, give or take an image. No image comes twice before every one of its kind has come once.

    Source: Y. Carmon et al., "Unlabeled Data Improves Adversarial Robustness", NeurIPS 2019, whose epochs are as long, too.
    """
    sums = torch.floor(torch.arange(own + 1, dtype=torch.float64) * share + 1e-9)
    added = sums[1:] > sums[:-1]
    order = torch.empty(own, dtype=torch.int64)
    order[~added] = _drawn(own, int((~added).sum()), generator)
    order[added] = own + _drawn(extra, int(added.sum()), generator)
    return order


def _drawn(images: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random indices below `images`, without repetition until all have been drawn."""
    rounds = [torch.randperm(images, generator=generator) for _ in range(-(-count // images))]
    return torch.cat([torch.empty(0, dtype=torch.int64), *rounds])[:count]
