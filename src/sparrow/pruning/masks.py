"""From scores to masks with an exact number of weights or filters.

A *unit* is what is kept or removed: a weight, or a filter (in all layers of its group). Units compete in *blocks*: the
weights of a layer, or the filters of a group. A budget says how many units each block loses. Under an N:M pattern, the
weights of a block compete with those of the same M inputs alone.

Sources of the allocations: ERK, Evci et al., "Rigging the Lottery", ICML 2020; LAMP, Lee et al., "Layer-adaptive Sparsity
for the Magnitude-based Pruning", ICLR 2021; IGQ, Chen et al., "Sparsity Winning Twice", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.networks.structure import Layout
from sparrow.pruning.params import FromScratch, Global, Method, Patterned, PerLayer
from sparrow.pruning.ratio import pruned_count, shortage

Budget = dict[str, int]


def budget_of(
    weights: Mapping[str, Tensor], layout: Layout, ratio: float, params: Method, scores: Mapping | None = None
) -> Budget:
    """How many units each block loses, by the `allocation` of `params`.

    `weights` are those to prune, whose magnitudes decide under `lamp`; `scores` (shaped like them) decide under `global`.
    Of filters every group keeps one. Raises SparrowError for a ratio that does not leave that, or is not that of the pattern.
    """
    if params.pattern:
        if line := params.pattern.other_ratio(ratio):
            raise SparrowError(line)
        dense = dense_layers(params)
        return {name: 0 if name in dense else params.pattern.dropped(weight.numel()) for name, weight in weights.items()}
    magnitudes = units({name: weight.detach().abs() for name, weight in weights.items()}, layout, params)
    sizes = {block: len(values) for block, values in magnitudes.items()}
    # A layer without filters would cut the network in two.
    spared = 1 if is_by_filter(params) else 0
    if spared and (line := shortage(params, sizes, ratio)):
        raise SparrowError(line)
    allocation = params.allocation if isinstance(params, PerLayer | Global | FromScratch) else "uniform"
    if allocation == "uniform":
        return {block: pruned_count(size, ratio) for block, size in sizes.items()}
    lost = pruned_count(sum(sizes.values()), ratio)
    if allocation == "lamp":
        return lowest_everywhere({block: lamp_scores(values) for block, values in magnitudes.items()}, lost, spared)
    if allocation == "global":
        return lowest_everywhere(units(scores or weights, layout, params), lost, spared)
    kept = erk_densities(weights, sizes, 1 - ratio) if allocation == "erk" else igq_densities(sizes, 1 - ratio)
    return divide({block: 1 - density for block, density in kept.items()}, sizes, ratio, spared)


def masks_of(
    scores: Mapping[str, Tensor], layout: Layout, budget: Budget, params: Method, weights: Mapping
) -> dict[str, Tensor]:
    """Masks, shaped like `weights`, that drop the units with the lowest scores of each block.

    Of equal scores, the first in memory are dropped first. Under an N:M pattern, what the budget drops is dropped in equal
    parts from every M consecutive inputs.
    """
    if params.pattern:
        return {
            name: keep_highest_of_each(score, *params.pattern) if budget[name] else torch.ones_like(score, dtype=torch.bool)
            for name, score in scores.items()
        }
    kept = {block: keep_highest(values, budget[block]) for block, values in units(scores, layout, params).items()}
    return spread(kept, layout, params, weights)


def units(scores: Mapping[str, Tensor], layout: Layout, params: Method) -> dict[str, Tensor]:
    """The scores (n,) of each block's units; a filter's score is the sum over its weights, in all layers of its group."""
    if not is_by_filter(params):
        return {name: score.flatten() for name, score in scores.items()}
    return {group.layers[0]: filter_sums([scores[name] for name in group.layers]) for group in layout.groups}


def filter_sums(layers: Sequence[Tensor]) -> Tensor:
    """The sum (filters,) of each filter's entries in all of `layers` (filters, ...)."""
    return reduce(torch.add, (layer.flatten(1).sum(dim=1) for layer in layers))


def spread(kept: Mapping[str, Tensor], layout: Layout, params: Method, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks shaped like `weights` from what is kept (bool (n,)) of each block; layers outside all blocks stay whole."""
    if not is_by_filter(params):
        return {name: kept[name].view_as(weight) for name, weight in weights.items()}
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for group in layout.groups:
        for name in group.layers:
            masks[name] &= kept[group.layers[0]].view(-1, *[1] * (weights[name].dim() - 1))
    return masks


def is_by_filter(params: Method) -> bool:
    """Whether the units are filters."""
    return params.structure == "filters"


def keep_highest(scores: Tensor, dropped: int) -> Tensor:
    """Mask, shaped like `scores`, without the `dropped` lowest of them; of equal ones, the first in memory are dropped."""
    mask = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().sort(stable=True).indices[:dropped]] = False
    return mask.view_as(scores)


def keep_highest_of_each(scores: Tensor, kept: int, among: int) -> Tensor:
    """Mask, shaped like `scores` (out, ...), of the `kept` highest of every `among` consecutive inputs of each output.

    Of equal scores, the first in memory are dropped. The inputs of an output are a multiple of `among`.
    """
    groups = scores.reshape(len(scores), -1, among)
    order = groups.sort(dim=2, stable=True).indices[..., : among - kept]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(2, order, False).view(scores.shape)


def dense_layers(params: Method) -> list[str]:
    """The names of the weights that an N:M pattern spares."""
    return params.dense_layers if isinstance(params, Patterned) else []


def inputs_of(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many inputs each output of a layer has, by the name of its weights (out, ...)."""
    return {name: weight[0].numel() for name, weight in weights.items()}


def lamp_scores(magnitudes: Tensor) -> Tensor:
    """`w_u^2 / sum of w_v^2 over all v that are not smaller` (Lee et al. 2021), shaped like `magnitudes` (n,)."""
    squares, order = magnitudes.double().square().sort(stable=True)
    rest = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.empty_like(squares).scatter_(0, order, squares / rest)


def erk_densities(weights: Mapping[str, Tensor], sizes: Mapping[str, int], density: float) -> dict[str, float]:
    """The share that each block keeps: proportional to `(sum of the weight's dimensions) / (their product)`, at most 1."""
    raw = {block: sum(weights[block].shape) / weights[block].numel() for block in sizes}
    whole: set[str] = set()
    while len(whole) < len(sizes):
        # Blocks that would keep more than they have keep all, and the others share what is left.
        rest = density * sum(sizes.values()) - sum(sizes[block] for block in whole)
        factor = rest / sum(raw[block] * sizes[block] for block in sizes if block not in whole)
        full = {block for block in sizes if block not in whole and factor * raw[block] >= 1}
        if not full:
            return {block: 1.0 if block in whole else factor * raw[block] for block in sizes}
        whole |= full
    return dict.fromkeys(sizes, 1.0)


def igq_densities(sizes: Mapping[str, int], density: float) -> dict[str, float]:
    """The share that each block keeps, `1 / (f * size + 1)`, with `f >= 0` such that `density` of all units are kept.

    The "ideal gas quota" of Chen et al., "Sparsity Winning Twice", ICLR 2022, to a weight in a million million.
    """
    low, high = 0.0, 1 / (density * min(sizes.values()))
    for _ in range(200):  # More halvings than a float has digits.
        middle = (low + high) / 2
        kept = sum(size / (middle * size + 1) for size in sizes.values())
        low, high = (middle, high) if kept > density * sum(sizes.values()) else (low, middle)
    return {block: 1 / (high * size + 1) for block, size in sizes.items()}


def random_masks(weights: Mapping[str, Tensor], budget: Budget, generator: torch.Generator) -> dict[str, Tensor]:
    """Masks, shaped like `weights`, that drop `budget` random places of each; `generator` is on the CPU."""
    scores = {name: torch.rand(weight.shape, generator=generator).to(weight.device) for name, weight in weights.items()}
    return {name: keep_highest(score, budget[name]) for name, score in scores.items()}


def divide(shares: Mapping[str, float], sizes: Mapping[str, int], ratio: float, spared: int = 0) -> Budget:
    """Whole numbers near `share * size` that add up to the ratio over all: the largest remainders are rounded up.

    `spared` units of every block stay, as long as the ratio can be had without them.
    """
    total = pruned_count(sum(sizes.values()), ratio)
    most = {block: max(size - spared, 0) for block, size in sizes.items()}
    most = most if sum(most.values()) >= total else dict(sizes)
    exact = {block: min(max(shares[block], 0.0) * size, most[block]) for block, size in sizes.items()}
    budget = {block: int(value) for block, value in exact.items()}
    missing = total - sum(budget.values())
    step = 1 if missing > 0 else -1
    by_remainder = sorted(sizes, key=lambda block: step * (budget[block] - exact[block]))
    while missing:
        for block in by_remainder:
            if missing and 0 <= budget[block] + step <= most[block]:
                budget[block] += step
                missing -= step
    return budget


def lowest_everywhere(scores: Mapping[str, Tensor], lost: int, spared: int = 0) -> Budget:
    """How many of each block are among the `lost` lowest ones of all units together, by their scores (n,).

    The `spared` highest ones of every block stay, and others go for them.
    """
    everything = torch.cat([_out_of_reach(values, spared) for values in scores.values()])
    kept = keep_highest(everything, lost).split([len(values) for values in scores.values()])
    return {block: int((~part).sum()) for block, part in zip(scores, kept, strict=True)}


def _out_of_reach(scores: Tensor, spared: int) -> Tensor:
    """The scores (n,) with infinity in the place of the `spared` highest ones."""
    highest = scores.sort(stable=True).indices[len(scores) - spared :]
    return scores.index_fill(0, highest, torch.inf)
