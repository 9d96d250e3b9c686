"""From scores to masks with an exact number of weights."""

from __future__ import annotations

import torch
from torch import Tensor


def pruned_count(size: int, ratio: float) -> int:
    """How many of `size` weights the pruning ratio removes, to the nearest weight."""
    return round(ratio * size)


def keep_highest(scores: Tensor, ratio: float) -> Tensor:
    """Mask, shaped like `scores`, that drops the lowest share `ratio` of them. Ties: the first in memory goes first."""
    mask = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    order = scores.flatten().sort(stable=True).indices
    mask[order[: pruned_count(scores.numel(), ratio)]] = False
    return mask.view_as(scores)


def keep_highest_everywhere(scores: dict[str, Tensor], ratio: float) -> dict[str, Tensor]:
    """The same over all tensors together: one threshold for the whole network."""
    everything = keep_highest(torch.cat([score.flatten() for score in scores.values()]), ratio)
    parts = everything.split([score.numel() for score in scores.values()])
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}
