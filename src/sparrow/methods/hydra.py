"""HYDRA: the mask is learned, as scores trained on the robust objective while the weights stay frozen.

With frozen weights `W0` and scores `s`, a layer computes with `W = W0 * M`, `M` being 1 for the `1 - ratio` share of the
largest `|s|` in the layer. The straight-through estimator passes the gradient as if `M` were `|s|`, so
`dL/ds = dL/dW * W0 * sign(s)`. Scores start at `s = sqrt(6 / fan_in) * W0 / max|W0|`. Biases are frozen; batch
norm goes on learning unless `freeze_norms`. With `granularity: filter` there is one score a filter; the biases of
filters that are out count until the search is over. Where batch norm follows, it undoes a filter's scale, and the scores
of filters learn little.

A layer loses `round(ratio * size)` weights; in the released code `int(ratio * size)`, at most one fewer. There,
`freeze_bn` holds scale and shift only, and running statistics go on.

Source: Sehwag et al., "HYDRA: Pruning Adversarially Robust Neural Networks", NeurIPS 2020; what is frozen while the
scores learn follows its released code (inspire-group/hydra, utils/model.py).

BibTeX:

@inproceedings{sehwag2020hydra,
  author = {Sehwag, Vikash and Wang, Shiqi and Mittal, Prateek and Jana, Suman},
  title = {{HYDRA}: Pruning Adversarially Robust Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, Criterion, Needs, PerLayer, Sharpness, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Masks, Pruner, Weights


class Params(PerLayer, AnyGranularity, Sharpness):
    """Settings of the scores, which learn along `training.prune`."""

    criterion: ClassVar[Criterion | None] = "LIS"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "scores"
    init_gain: float = Field(6.0, gt=0)
    """The 6 in the initial scores' `sqrt(6 / fan_in)`."""
    freeze_norms: bool = False
    """Stop batch norm from learning while the scores do; its running statistics stay, too."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that learns one score a weight, or a filter."""
    from sparrow.pruning.learned_scores import Scored
    from sparrow.pruning.masks import budget_of, is_by_filter, masks_of

    class Hydra(Scored):
        budget = "filters" if is_by_filter(params) else "weights"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.drops = budget_of(weights, layout, ratio, params)
            return super().start(weights, layout)

        def masks(self) -> Masks:
            sizes = {name: score.abs() for name, score in self.scores.items()}
            return masks_of(sizes, self.layout, self.drops, params, self.frozen)

    return Hydra(params, params.init_gain, params.s2ap_gamma, params.freeze_norms, params.s2ap_warmup_epochs)
