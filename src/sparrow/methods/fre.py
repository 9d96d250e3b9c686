"""After FRE: filters are removed, in steps between which training goes on, that contribute least to the robust loss.

Of Filter Robustness Estimation (FRE) and the pruning by it (FRFP) we have read the abstract and the entry in the taxonomy of
the Adversarial Pruning Benchmark: filters are ranked by their estimated contribution to the adversarial training's loss, over
the whole network, and pruned iteratively, with TRADES before and after; here L is the study's objective.
All else is our reading:

- the contribution of a filter is, to first order, what its removal changes the loss by: `|sum of p dL/dp|` over all parameters
  `p` that belong to the filter, in all layers of its group: weights, bias, and the scale and shift of the batch norm behind it
  (as Molchanov et al. estimate it, CVPR 2019);
- the sum over the filter comes first, the absolute value of it second (or its square, `size`), the mean over all batches
  since the last pruning third: each other order would be another criterion;
- the schedule has `steps` equal parts, at whose ends filters are pruned, each time the same share of what was left; filters of
  all layers compete, and of each layer one stays. The last pruning is the schedule's end, behind which comes fine-tuning.

Where batch norm follows a convolution, the loss does not depend on the scale of the filter, so that the sum over its weights is
0 but for rounding: there it is the norm's parameters that tell filters apart.

Source: Zhuang et al., "Adversarial Network Pruning by Filter Robustness Estimation", ICASSP 2023 (abstract; no code); the
first-order estimate: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.

BibTeX:

@inproceedings{zhuang2023adversarial,
  author = {Zhuang, Xinlu and Ge, Yunjie and Zheng, Baolin and Wang, Qian},
  title = {Adversarial Network Pruning by Filter Robustness Estimation},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},
  year = {2023},
}

@inproceedings{molchanov2019importance,
  author = {Molchanov, Pavlo and Mallya, Arun and Tyree, Stephen and Frosio, Iuri and Kautz, Jan},
  title = {Importance Estimation for Neural Network Pruning},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019},
}
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Locality, Needs, Trains, WholeFilters

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Pruner, Step, Weights


class Params(WholeFilters):
    """How contributions are measured, and in how many steps filters go. The abstract says neither."""

    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    criterion: ClassVar[Criterion] = "LIS"
    iterative: ClassVar[bool] = True
    locality: ClassVar[Locality] = "network"
    steps: int = Field(5, ge=1)
    """Prune at the ends of so many equal parts of the schedule; each time the same share of what was left goes."""
    size: Literal["absolute", "square"] = "absolute"
    """What is averaged over batches: the contribution's absolute value, or its square."""
    normalise: Literal["none", "layer"] = "none"
    """Compare contributions as they are, or relative to the L2 norm of those of their layer."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the filters with the largest contributions to the study's objective."""
    from sparrow.pruning.held_filters import HeldFilters
    from sparrow.pruning.masks import keep_highest, lowest_everywhere
    from sparrow.pruning.ratio import pruned_after

    class Fre(HeldFilters):
        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            tensors = super().start(weights, layout)
            self.done, self.batches = 0, 0
            self.sums = {block: torch.zeros_like(weights[block].flatten(1)[:, 0]) for block in self.kept}
            return tensors

        def after_backward(self, weights: Weights, step: Step) -> None:
            super().after_backward(weights, step)
            for block, values in contributions(self.network, self.layout).items():
                self.sums[block] += values.abs() if params.size == "absolute" else values.square()
            self.batches += 1

        def after_step(self, weights: Weights, step: Step) -> None:
            super().after_step(weights, step)
            due = (step.number + 1) * params.steps // step.total
            if due > self.done:
                self.done = due
                self.prune(weights)

        def prune(self, weights: Weights) -> None:
            scores = {block: self.score(block) for block in self.kept}
            gone = pruned_after(self.done, params.steps, sum(map(len, scores.values())), ratio)
            lost = lowest_everywhere(scores, gone, spared=1)
            self.keep({block: keep_highest(values, lost[block]) for block, values in scores.items()}, weights)
            self.sums, self.batches = {block: torch.zeros_like(values) for block, values in self.sums.items()}, 0

        def score(self, block: str) -> torch.Tensor:
            """The mean contribution of each filter (n,); below all others, of those that are gone."""
            mean = self.sums[block] / self.batches
            if params.normalise == "layer":
                mean = mean / mean.norm().clamp_min(torch.finfo(mean.dtype).tiny)
            return mean.masked_fill(~self.kept[block], -1)

    return Fre(params)


def contributions(network: torch.nn.Module, layout: Layout) -> dict[str, torch.Tensor]:
    """The sum (n,) of parameter times gradient over all that belongs to each filter, by the first layer of its group."""
    from sparrow.pruning.pruner import gradient_of

    parameters = dict(network.named_parameters())
    return {
        group.layers[0]: reduce(
            torch.add,
            (
                (parameters[name].detach() * gradient_of(parameters[name])).reshape(len(parameters[name]), -1).sum(dim=1)
                for name in (*group.layers, *group.besides)
                if name in parameters
            ),
        )
        for group in layout.groups
    }
