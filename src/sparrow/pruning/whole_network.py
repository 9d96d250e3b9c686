"""Masks of single weights that compete over the whole network, to the exact number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.pruning.ratio import pruned_count


def keep_highest_everywhere(
    scores: Mapping[str, Tensor], kept: int, within: Mapping[str, Tensor] | None = None, at_least: int = 0
) -> dict[str, Tensor]:
    """Masks, shaped like `scores`, of the `kept` highest scores of all layers together, at most all.

    Only places in the masks `within` are kept, if given. `at_least` so many of a layer stay, its highest (all, if it has no
    more), as long as `kept` is enough for that: weights whose layers lost everything would cut the network in two. Of equal
    scores, the first in memory are dropped first.
    """
    allowed = within or {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    places = {name: allowed[name].flatten() for name in scores}
    ranked = {name: _from_highest(score.flatten(), places[name]) for name, score in scores.items()}
    masks = {name: torch.zeros(score.numel(), dtype=torch.bool, device=score.device) for name, score in scores.items()}
    if at_least * len(masks) <= kept:
        for name, order in ranked.items():
            masks[name][order[:at_least]] = True
    spared = sum(int(mask.sum()) for mask in masks.values())
    everything = torch.cat([score.flatten() for score in scores.values()])
    open_places = torch.cat([places[name] & ~masks[name] for name in scores])
    chosen = torch.zeros_like(open_places)
    chosen[_from_highest(everything, open_places)[: max(kept - spared, 0)]] = True
    parts = chosen.split([mask.numel() for mask in masks.values()])
    return {
        # A tensor of its own for each: views of one could not be written to a resume point.
        name: (mask | part).view_as(scores[name])
        for (name, mask), part in zip(masks.items(), parts, strict=True)
    }


def exact(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor], ratio: float) -> dict[str, Tensor]:
    """`masks` without the smallest kept `|W|` of the whole network, so many that the pruning ratio is met; none is revived.

    The largest of each layer stays, if the ratio leaves one for each.
    """
    size = sum(mask.numel() for mask in masks.values())
    magnitudes = {name: weights[name].detach().abs() for name in masks}
    return keep_highest_everywhere(magnitudes, size - pruned_count(size, ratio), within=masks, at_least=1)


def _from_highest(scores: Tensor, places: Tensor) -> Tensor:
    """Indices of the true `places` (n,), the highest score first; of equal scores, the last in memory first."""
    indices = places.nonzero().flatten()
    return indices[scores[indices].sort(stable=True).indices].flip(0)
