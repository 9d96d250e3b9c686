"""HARP: scores of frozen weights as in HYDRA, and with them the share that each layer keeps.

Layer l keeps `k_l = k_min + (1 - k_min) sigmoid(r_l)`, `k_min = floor * k`, where `k = 1 - ratio`. The loss gains
`gamma max(0, kept / target - 1)`; gamma is `(epoch + 1) * gamma` until the budget is met, and stays from then on. By the
straight-through estimator the gradient of `k_l` is the sum of its mask's. With `granularity: weight`, `kept` counts
weights. With `filter`, it counts multiply-adds of the network without the filters, and the target is what the
same share of the filters in every layer would leave. (The released code ranks the input channels of each layer; they are the
output filters of the one before, which are ranked here.)

The penalty ends near the budget, not on it. So at the end what the shares are above `k_min` is multiplied by one number,
shares staying at most 1, so that the budget is met to the weight (for multiply-adds: not exceeded, and no filter more would
fit). Where the search ends more than 10 % off, that number is large, the scores have learned under other shares than they
are used with, and the network's header and log say so. The released code keeps the best epoch among those after the budget
was first met instead, whatever they keep.

The start is that of its `configs/strategies.json`: 10 % in every layer, for any target, which is on the budget at ratio
0.9 and ten times above it at 0.99. They are read with `--rate-stg-init`; without it, as in the README's commands, every
layer starts at `sigmoid(1)`, 73 %. Below ratio 0.9 a start of 10 % would be under the budget, where nothing pulls the
shares up; layers start on it there. A layer loses `round(size * (1 - k_l))` weights here, `int(size * (1 - k_l))` there: at
most one weight a layer.

Source: Zhao and Wressnegger, "Holistic Adversarially Robust Pruning", ICLR 2023; defaults of its released code
(intellisec/harp).

BibTeX:

@inproceedings{zhao2023holistic,
  author = {Zhao, Qi and Wressnegger, Christian},
  title = {Holistic Adversarially Robust Pruning},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Granular, Locality, Needs, Sharpness, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.masks import Budget
    from sparrow.pruning.pruner import Masks, Pruner, Step, Weights


class Params(Granular, Sharpness):
    """Settings of the budget, and where scores and rates, which learn along `training.prune`, start."""

    criterion: ClassVar[Criterion | None] = "LIS"
    locality: ClassVar[Locality] = "network"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "scores"
    traces: ClassVar[bool] = True
    allocation: ClassVar[str] = "uniform"
    """Of filters, the budget is what is left where each layer loses the same share: a ratio has to leave filters in each."""
    gamma: float = Field(0.01, gt=0)
    """Weight of the budget in the loss in the first epoch; twice that in the second, and so on."""
    floor: float = Field(0.1, ge=0, lt=1)
    """No layer keeps less than this times the share that the network keeps."""
    start: float = Field(0.1, gt=0, le=0.99)
    """Every layer starts with this share of its weights or filters, or with what the network is to keep if that is more."""
    init_gain: float = Field(6.0, gt=0)
    """The 6 in the initial scores' `sqrt(6 / fan_in)`."""
    freeze_norms: bool = False
    """Stop batch norm from learning while the scores do; its running statistics stay, too."""


NEAR = 0.1
"""How far from 1 what is kept over the target may be at the end of the search without a warning."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that learns scores and rates."""
    from sparrow.pruning.learned_scores import Scored
    from sparrow.pruning.learned_shares import FilterBudget, WeightBudget
    from sparrow.pruning.masks import is_by_filter, masks_of

    keep = 1 - ratio
    lowest = params.floor * keep

    class Harp(Scored):
        budget = "multiply-adds" if is_by_filter(params) else "weights"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            kind = FilterBudget if is_by_filter(params) else WeightBudget
            self.cost = kind(weights, layout, ratio)
            share = min(0.99, max(0.01, (max(params.start, keep) - lowest) / (1 - lowest)))
            device = next(iter(weights.values())).device
            self.rates = torch.full((len(self.cost.sizes),), share, device=device).logit()
            self.gamma, self.met = params.gamma, False
            return [*super().start(weights, layout), self.rates]

        def drops(self, kept: torch.Tensor) -> Budget:
            """How many units each block loses, if it keeps these shares (blocks,)."""
            sizes = self.cost.sizes.items()
            return {block: size - max(1, round(size * float(share))) for (block, size), share in zip(sizes, kept, strict=True)}

        def masks(self) -> Masks:
            sizes = {name: score.abs() for name, score in self.scores.items()}
            return masks_of(sizes, self.layout, self.drops(shares(self.rates, lowest)), params, self.frozen)

        def differentiate(self, weights: Weights) -> None:
            super().differentiate(weights)
            gradients = self.mask_gradients(weights)
            pull = torch.stack([gradients[block].sum() for block in self.cost.sizes])
            with torch.enable_grad():
                rates = self.rates.detach().requires_grad_()
                kept = shares(rates, lowest)
                loss = (pull * kept).sum() + self.gamma * (self.cost.kept(kept) - 1).clamp_min(0)
                (self.rates.grad,) = torch.autograd.grad(loss, rates)

        def after_step(self, weights: Weights, step: Step) -> None:
            super().after_step(weights, step)
            epoch, place = divmod(step.number + 1, step.per_epoch)
            if place == 0:
                self.met = self.met or float(self.cost.kept(shares(self.rates, lowest))) <= 1 + 5e-5
                self.gamma = self.gamma if self.met else (epoch + 1) * params.gamma

        def trace(self) -> dict[str, float]:
            kept = shares(self.rates, lowest)
            layers = {f"kept share of {block}": float(share) for block, share in zip(self.cost.sizes, kept, strict=True)}
            return {"gamma": self.gamma, "kept / target": float(self.cost.kept(kept)), **layers}

        def end(self, weights: Weights) -> Masks:
            sizes = {name: score.abs() for name, score in self.scores.items()}
            drops = self.cost.exactly(shares(self.rates, lowest), lowest)
            return self.settle(weights, masks_of(sizes, self.layout, drops, params, self.frozen))

        def warning(self) -> str | None:
            kept = float(self.cost.kept(shares(self.rates, lowest)))
            if abs(kept - 1) <= NEAR:
                return None
            return (
                f"its search ended at {kept:.2f} times the budget of {self.budget}, and all shares were scaled to meet it; "
                "a larger gamma, or more epochs of pruning, bring the search nearer to 1"
            )

    return Harp(params, params.init_gain, params.s2ap_gamma, params.freeze_norms, params.s2ap_warmup_epochs)


def shares(rates: torch.Tensor, lowest: float) -> torch.Tensor:
    """The shares (n,) that layers with these rates (n,) keep, in [lowest, 1]."""
    return lowest + (1 - lowest) * torch.sigmoid(rates)
