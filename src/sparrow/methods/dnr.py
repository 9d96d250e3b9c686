"""DNR, dynamic network rewiring: sparse momentum on a hybrid loss of clean and perturbed images.

The loss is `beta CE(f(x), y) + (1 - beta) L`, with L the study's objective. A running mean of its dense gradients,
`m <- momentum m + g`, says where weights are missing. After every `every` epochs, with `dr(t)` falling from 0.5 to 0.005 along
half a cosine over the schedule:
- v_l, the mean `|m|` of layer l's active weights, is divided by the sum over all layers;
- the `ceil(dr n)` smallest of a layer's n weights go; at most its share of zeros, if that is below 20 % and v_l above average;
- the freed number is divided among the layers by v_l. A layer takes at most 99 % of its free places, and what it cannot take
  the others share equally;
- in each layer the dormant weights with the largest `|m|` come, and start at 0. One that went just then keeps its value.
All prunable layers take part, the first and the last included.

The authors released networks and the code that tests them, not the training. What the abstract says is here: the hybrid loss,
"per-layer normalized momentum computed from the hybrid loss", one training. The rules above are those of the predecessor's
released code, sparse momentum. Ours, or our reading: `beta`, whose value we did not see; that once an epoch, as there, is
often enough; that as many come as go (there the numbers are rounded up, and what is too much or too little is made good
later); that `m` is of the loss alone, without weight decay; that a layer's last weight stays; and `rescale` (see
`random-scratch`). Left out: the "dynamic L2 regulariser" that the paper is said to have, and its pruning of channels.

Measured on digits, with CNN-small. At 99 % the first three layers lost everything, and the network stayed at chance, until
their last weights stayed: without an active weight a layer has no momentum, and gets nothing back. Uniform densities begin
with 3 of the first layer's 256 weights there, so that benign training came to 66 % of images, and with an exchange every five
epochs to 10 %, which a warning tells; from `allocation: igq` to 90 and 85 %. At 90 % the first layer fills up, and three in ten
of its weights stay 0, since they read the border pixels, which are always black; from `igq`, where most of that layer is there
from the start, next to none does.

Source: after Kundu et al., "DNR: A Tunable Robust Pruning Framework Through Dynamic Network Rewiring of DNNs", ASP-DAC 2021;
rules and numbers as in the released code of Dettmers and Zettlemoyer, "Sparse Networks from Scratch: Faster Training without
Losing Performance", arXiv 1907.04840 (TimDettmers/sparse_learning).

BibTeX:

@inproceedings{kundu2021dnr,
  author = {Kundu, Souvik and Nazemi, Mahdi and Beerel, Peter A. and Pedram, Massoud},
  title = {{DNR}: A Tunable Robust Pruning Framework Through Dynamic Network Rewiring of {DNN}s},
  booktitle = {Asia and South Pacific Design Automation Conference},
  year = {2021},
}

@misc{dettmers2019sparse,
  author = {Dettmers, Tim and Zettlemoyer, Luke},
  title = {Sparse Networks from Scratch: Faster Training without Losing Performance},
  year = {2019},
  eprint = {1907.04840},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.exchange_params import Exchanging
from sparrow.pruning.params import Criterion, Locality

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Batch, Pruner, Step, Weights

NEARLY_DENSE = 0.2
"""Share of zeros below which a layer with more than average momentum loses no more than that share of its weights."""
FILLED = 0.99
"""Share of its free places that a layer takes at most."""


class Params(Exchanging):
    """The hybrid loss, and how many weights are exchanged, and how often."""

    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion] = "LIS"
    traces: ClassVar[bool] = True
    allocation: Literal["uniform", "erk", "igq"] = "uniform"
    """As in `flying-bird`, at the start; the predecessor's layers start with the same density."""
    clean: float = Field(0.5, ge=0, le=1)
    """Weight `beta` of the cross-entropy of clean images; that of the objective is 1 less it."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Share of the running sum of gradients that is left after a step; that of the predecessor's SGD."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters under masks that change; the first are drawn from `generator`."""
    from sparrow.pruning.exchange import Exchange, with_largest, without_smallest
    from sparrow.pruning.pruner import gradient_of

    functional = torch.nn.functional

    class Dnr(Exchange):
        def __init__(self) -> None:
            super().__init__(params, ratio, generator)
            self.momentum: dict[str, torch.Tensor] = {}

        def loss(self, batch: Batch) -> torch.Tensor:
            objective = batch.objective()
            if not params.clean:
                return objective
            clean = functional.cross_entropy(batch.model(batch.images), batch.labels)
            return params.clean * clean + (1 - params.clean) * objective

        def seen(self, weights: Weights, step: Step) -> None:
            for name, weight in weights.items():
                mean = self.momentum.setdefault(name, torch.zeros_like(weight, requires_grad=False))
                mean.mul_(params.momentum).add_(gradient_of(weight))

        def exchange(self, weights: Weights, step: Step) -> None:
            wanted = momentum_shares(self.momentum, self.masks)
            left = {}
            for name, mask in self.masks.items():
                count, zeros = self.going(mask, step), float((~mask).double().mean())
                if zeros < NEARLY_DENSE and wanted[name] > 1 / len(wanted):
                    count = min(count, math.ceil(zeros * int(mask.sum())))
                # A layer that has lost everything has no momentum, and would never get anything back.
                left[name] = without_smallest(mask, weights[name], min(count, max(int(mask.sum()) - 1, 0)))
            freed = sum(int(self.masks[name].sum() - mask.sum()) for name, mask in left.items())
            coming = divided(freed, wanted, {name: int((~mask).sum()) for name, mask in left.items()})
            self.masks = {name: with_largest(mask, self.momentum[name].abs(), coming[name]) for name, mask in left.items()}

        def trace(self) -> dict[str, float]:
            return {f"density of {name}": float(mask.double().mean()) for name, mask in self.masks.items()}

        def warning(self) -> str | None:
            poor = [name for name, mask in self.masks.items() if int(mask.sum()) <= 1 < mask.numel()]
            left = f"of {', '.join(poor)} one weight at most is left; valid: allocation igq" if poor else None
            return "; ".join(filter(None, [super().warning(), left])) or None

    return Dnr()


def momentum_shares(momentum: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Each layer's mean `|m|` over what its mask keeps, over the sum of all layers' (0 for one that keeps nothing)."""
    means = {name: float(momentum[name][mask].abs().double().mean()) if mask.any() else 0.0 for name, mask in masks.items()}
    total = sum(means.values())
    return {name: mean / total if total else 1 / len(means) for name, mean in means.items()}


def divided(total: int, shares: Mapping[str, float], free: Mapping[str, int]) -> dict[str, int]:
    """`total` in whole numbers near `shares` of it; what is over a layer's room, 99 % of `free`, the others share equally.

    All of `free` is room if there is not enough otherwise.
    """
    room = {name: int(FILLED * count) for name, count in free.items()}
    room = room if sum(room.values()) >= total else dict(free)
    parts, open_layers = {name: share * total for name, share in shares.items()}, set(shares)
    while full := {name for name in open_layers if parts[name] > room[name]}:
        excess = sum(parts[name] - room[name] for name in full)
        open_layers -= full
        parts |= {name: float(room[name]) for name in full}
        parts |= {name: parts[name] + excess / len(open_layers) for name in open_layers}
    result = {name: int(part) for name, part in parts.items()}
    missing = total - sum(result.values())
    for name in sorted(parts, key=lambda name: result[name] - parts[name]):
        if missing and result[name] < room[name]:
            result[name] += 1
            missing -= 1
    return result
