"""Budgets for methods that learn what share each layer keeps: of weights, or of multiply-adds."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.networks.structure import Layout
from sparrow.pruning.masks import Budget, divide
from sparrow.pruning.pruner import Weights
from sparrow.pruning.ratio import pruned_count, shortage_of_each
from sparrow.settings import RebuiltOnResume


class WeightBudget(RebuiltOnResume):
    """The network keeps `1 - ratio` of its weights, wherever they are."""

    def __init__(self, weights: Weights, layout: Layout, ratio: float) -> None:
        self.sizes = {name: weight.numel() for name, weight in weights.items()}
        self._ratio = ratio

    def kept(self, shares: Tensor) -> Tensor:
        """Weights kept under `shares` (one a block) over those that the ratio leaves."""
        sizes = torch.tensor(list(self.sizes.values()), dtype=shares.dtype, device=shares.device)
        return (shares * sizes).sum() / (sizes.sum() * (1 - self._ratio))

    def exactly(self, shares: Tensor, lowest: float = 0.0) -> Budget:
        """How many weights each block loses, so that the network keeps exactly what the ratio leaves.

        What `shares` (blocks,) are above `lowest` is multiplied by one factor for that, shares staying at most 1.
        """
        low, high = 0.0, 1 / max(float((shares - lowest).min()), 1e-9)
        for _ in range(60):
            factor = (low + high) / 2
            low, high = (factor, high) if float(self.kept(scaled(shares, lowest, factor))) < 1 else (low, factor)
        lost = {block: 1 - float(share) for block, share in zip(self.sizes, scaled(shares, lowest, high), strict=True)}
        return divide(lost, self.sizes, self._ratio, spared=1)


class FilterBudget(RebuiltOnResume):
    """The network keeps the multiply-adds that it would keep if every group lost the share `ratio` of its filters.

    Raises SparrowError for a ratio that would leave a group none.
    """

    def __init__(self, weights: Weights, layout: Layout, ratio: float) -> None:
        self.sizes = layout.filters(weights)
        if line := shortage_of_each(self.sizes, ratio):
            raise SparrowError(line)
        blocks = {name: place for place, group in enumerate(layout.groups) for name in group.layers}
        inputs = {name: place for place, group in enumerate(layout.groups) for name in group.readers}
        whole = len(layout.groups)  # Stands for the images, and for the classes.
        self._costs = [
            (layout.positions[name] * weight.numel(), blocks.get(name, whole), inputs.get(name, whole))
            for name, weight in weights.items()
        ]
        uniform = [1 - pruned_count(size, ratio) / size for size in self.sizes.values()]
        self._target = float(self._multiply_adds(torch.tensor(uniform, dtype=torch.float64)))

    def kept(self, shares: Tensor) -> Tensor:
        """Multiply-adds left under `shares` of each group's filters over the target."""
        return self._multiply_adds(shares) / self._target

    def exactly(self, shares: Tensor, lowest: float = 0.0) -> Budget:
        """How many filters each group loses, so that the network keeps at most the target.

        What `shares` (groups,) are above `lowest` is multiplied by one factor for that, shares staying at most 1. Rounding
        leaves room: of the groups for which one filter more still fits, that with the largest remainder keeps it, until none
        does.
        """
        low, high = 0.0, 1 / max(float((shares - lowest).min()), 1e-9)
        for _ in range(60):
            factor = (low + high) / 2
            low, high = (factor, high) if self.fits(self._lost(scaled(shares, lowest, factor))) else (low, factor)
        wanted = scaled(shares, lowest, low)
        lost = self._lost(wanted)
        kept = dict(zip(self.sizes, (wanted * torch.tensor(list(self.sizes.values()))).tolist(), strict=True))
        while room := self.more(lost):
            lost[max(room, key=lambda block: kept[block] - (self.sizes[block] - lost[block]))] -= 1
        return lost

    def more(self, lost: Budget) -> list[str]:
        """The groups that may lose one filter less than `lost`, and the target is still met."""
        return [block for block, count in lost.items() if count and self.fits({**lost, block: count - 1})]

    def _lost(self, shares: Tensor) -> Budget:
        """How many filters each group loses if it keeps these shares (groups,), and one filter at least."""
        return {
            block: size - max(1, round(size * min(1.0, float(share))))
            for (block, size), share in zip(self.sizes.items(), shares, strict=True)
        }

    def fits(self, lost: Budget) -> bool:
        """Whether the network keeps at most the target if each group loses so many filters."""
        kept = [1 - lost[block] / size for block, size in self.sizes.items()]
        return float(self.kept(torch.tensor(kept, dtype=torch.float64))) <= 1 + 1e-9

    def _multiply_adds(self, shares: Tensor) -> Tensor:
        """Multiply-adds for an image, a scalar, if the groups keep these shares (groups,) of their filters."""
        extended = torch.cat([shares, torch.ones_like(shares[:1])])
        return reduce(torch.add, (cost * extended[outputs] * extended[inputs] for cost, outputs, inputs in self._costs))


def scaled(shares: Tensor, lowest: float, factor: float) -> Tensor:
    """Shares (n,), float64, that are `factor` times as far above `lowest` as `shares` (n,) are; at most 1."""
    return (lowest + factor * (shares - lowest).double()).clamp_max(1)
