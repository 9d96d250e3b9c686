"""HYDRA: the mask is learned, as scores trained on the robust objective while the weights stay frozen.

With frozen weights `W0` and scores `s`, a layer computes with `W = W0 * M`, `M` being 1 for the `1 - ratio` share of the
largest `|s|` in the layer. The straight-through estimator passes the gradient as if `M` were `|s|`, so
`dL/ds = dL/dW * W0 * sign(s)`. Scores start at `s = sqrt(6 / fan_in) * W0 / max|W0|`. Biases are frozen; batch
norm goes on learning unless `freeze_norms`.

Source: Sehwag et al., "HYDRA: Pruning Adversarially Robust Neural Networks", NeurIPS 2020; what is frozen while the
scores learn follows its released code (inspire-group/hydra, utils/model.py).
"""

from __future__ import annotations

from pydantic import Field

from sparrow.lazy import torch
from sparrow.settings import Settings

LEARNS = True


class Params(Settings):
    """The schedule of the scores is the study's pruning schedule, `training.prune`."""

    init_gain: float = Field(6.0, gt=0)
    """The 6 in the initial scores' `sqrt(6 / fan_in)`."""
    freeze_norms: bool = False
    """Stop batch norm from learning while the scores do."""


def prepare(params: Params, ratio: float, generator: torch.Generator):
    """A pruner that learns one score a weight."""
    from sparrow.pruning._masks import keep_highest
    from sparrow.pruning._pruner import Pruner

    class Hydra(Pruner):
        trains_norms = not params.freeze_norms

        def start(self, weights):
            self.frozen = {name: weight.detach().clone() for name, weight in weights.items()}
            self.scores = {name: initial_scores(weight, params.init_gain) for name, weight in self.frozen.items()}
            self.after_step(weights)
            return list(self.scores.values())

        def after_backward(self, weights):
            for name, score in self.scores.items():
                score.grad = weights[name].grad * self.frozen[name] * score.sign()

        def after_step(self, weights):
            for name, mask in self.end(weights).items():
                weights[name].data.copy_(self.frozen[name] * mask)

        def end(self, weights):
            return {name: keep_highest(score.abs(), ratio) for name, score in self.scores.items()}

    return Hydra()


def initial_scores(weight: torch.Tensor, gain: float) -> torch.Tensor:
    """Scores proportional to the weights, as released; all zero for a layer of zeros."""
    fan_in = weight[0].numel()
    largest = weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
    return (gain / fan_in) ** 0.5 * weight / largest
