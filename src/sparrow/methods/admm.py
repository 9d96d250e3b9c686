"""Robust ADMM: training pulls the weights towards their own projection onto the sparse ones, then they are pruned.

The loss gains `rho/2 |W - Z + U|^2` in every layer. Every 1/`updates` of the schedule rho grows by `rho_growth`, then
`Z <- project(W + U)`, which keeps the largest magnitudes (or the filters with the largest L2 norm), and
`U <- U + W - Z`. At the end the weights are pruned by magnitude; the masked retraining is the study's fine-tuning.

The penalty's gradient is that of this formula, `rho (W - Z + U)`. In the released code U is not detached from W, so that after
k updates the gradient is k + 1 times that: ten times in the last of ten parts.

Source: Ye et al., "Adversarial Robustness vs. Model Compression, or Both?", ICCV 2019; order of the updates and defaults
of its released code (yeshaokai/Robustness-Aware-Pruning-ADMM).

BibTeX:

@inproceedings{ye2019adversarial,
  author = {Ye, Shaokai and Xu, Kaidi and Liu, Sijia and Cheng, Hao and Lambrechts, Jan-Henrik and Zhang, Huan and Zhou,
    Aojun and Ma, Kaisheng and Wang, Yanzhi and Lin, Xue},
  title = {Adversarial Robustness vs. Model Compression, or Both?},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2019},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, Criterion, Needs, PerLayer, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Pruner, Step, Weights


class Params(PerLayer, AnyGranularity):
    """The penalty. The paper trains 200 epochs a stage and updates every 20."""

    criterion: ClassVar[Criterion | None] = "SOLWM"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    traces: ClassVar[bool] = True
    rho: float = Field(1e-3, gt=0)
    """Weight of the penalty at first."""
    rho_growth: float = Field(1.3, ge=1)
    """Factor of the weight at each update."""
    updates: int = Field(10, ge=1)
    """The schedule is divided into this many parts, with an update of Z and U between them."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters under the penalty."""
    from sparrow.pruning.sparse_targets import SparseTargets, distance

    class Admm(SparseTargets):
        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.rho, self.done, self.moved = params.rho, 0, 0.0
            return super().start(weights, layout)

        def after_backward(self, weights: Weights, step: Step) -> None:
            self.pull(weights, self.rho)

        def after_step(self, weights: Weights, step: Step) -> None:
            if (step.number + 1) * params.updates >= (self.done + 1) * step.total and self.done + 1 < params.updates:
                self.update(weights)
            self.weights = weights

        def update(self, weights: Weights) -> None:
            self.done += 1
            self.rho *= params.rho_growth
            before = self.targets
            super().update(weights)
            self.moved = distance(before, self.targets)

        def trace(self) -> dict[str, float]:
            return {
                "rho": self.rho,
                "primal residual |W - Z|": distance(self.weights, self.targets),
                "dual residual rho |Z - Z'|": self.rho * self.moved,
            }

    return Admm(params, ratio)
