"""The order in which an epoch sees two kinds of images that are mixed in a fixed proportion."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed(own: int, extra: int, share: float, generator: torch.Generator) -> Tensor:
    """Places (own,) of images, in random order: `share` of them are among the last `extra`, the others among the first `own`.

    Wherever it is cut into batches, the proportion in each is right but for an image. No image comes twice before every one of
    its kind has come once.

    Source: Y. Carmon et al., "Unlabeled Data Improves Adversarial Robustness", NeurIPS 2019, whose epochs are as long, too.
    """
    sums = torch.floor(torch.arange(own + 1, dtype=torch.float64) * share + 1e-9)
    added = sums[1:] > sums[:-1]
    order = torch.empty(own, dtype=torch.int64)
    order[~added] = _drawn(own, int((~added).sum()), generator)
    order[added] = own + _drawn(extra, int(added.sum()), generator)
    return order


def _drawn(images: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` of so many `images`, over and over again if they are fewer."""
    rounds = [torch.randperm(images, generator=generator) for _ in range(-(-count // images))]
    return torch.cat([torch.empty(0, dtype=torch.int64), *rounds])[:count]
