"""Lowest weight magnitude (LWM): the smallest weights are removed, at once or in several steps with fine-tuning between.

With `steps` n > 1, step i keeps the share `(1 - ratio)^(i/n)` of the weights. The pruning schedule is divided evenly
among the n - 1 fine-tunings between the steps; the one after the last step is the study's own, as for every method.
Whole filters are ranked by the L1 norm of their weights; between the steps only the weights of removed filters are
held at zero, their biases and norms are removed at the end.

Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015; for robust
networks Sehwag et al., "Towards Compact and Robust Deep Neural Networks", arXiv 1906.06110; filters by L1 norm: Li et
al., "Pruning Filters for Efficient ConvNets", ICLR 2017.

BibTeX:

@inproceedings{han2015learning,
  author = {Han, Song and Pool, Jeff and Tran, John and Dally, William J.},
  title = {Learning both Weights and Connections for Efficient Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2015},
}

@misc{sehwag2019towards,
  author = {Sehwag, Vikash and Wang, Shiqi and Mittal, Prateek and Jana, Suman},
  title = {Towards Compact and Robust Deep Neural Networks},
  year = {2019},
  eprint = {1906.06110},
  archiveprefix = {arXiv},
}

@inproceedings{li2017pruning,
  author = {Li, Hao and Kadav, Asim and Durdanovic, Igor and Samet, Hanan and Graf, Hans Peter},
  title = {Pruning Filters for Efficient {ConvNets}},
  booktitle = {International Conference on Learning Representations},
  year = {2017},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, Criterion, Global, Needs, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Masks, Pruner, Step, Weights


class Params(Global, AnyGranularity):
    """Where magnitudes compete, and in how many steps."""

    criterion: ClassVar[Criterion | None] = "LWM"
    trains: ClassVar[Trains] = "weights"
    steps: int = Field(1, ge=1)
    """Prune in this many steps, with fine-tuning between them; each keeps the same share of what was left."""

    @model_validator(mode="after")
    def _patterns_at_once(self) -> Params:
        if self.pattern and self.steps > 1:
            raise ValueError(
                f"steps is {self.steps}, must be 1 with granularity '{self.pattern}': no pattern lies on the way to it"
            )
        return self

    @property
    def iterative(self) -> bool:
        """In more than one step."""
        return self.steps > 1

    @property
    def needs(self) -> Needs:
        """Nothing but the weights in one step, a schedule to fine-tune along in more."""
        return "schedule" if self.steps > 1 else "nothing"


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the largest `|W|`."""
    from sparrow.pruning.one_shot import OneShot

    if params.steps == 1:
        return OneShot(params, ratio, torch.abs)
    return _iterative(params, ratio)


def step_ratio(ratio: float, step: int, steps: int) -> float:
    """The pruning ratio after `step` of `steps`: geometric in the share that is kept."""
    return ratio if step == steps else 1 - (1 - ratio) ** (step / steps)


def _iterative(params: Params, ratio: float) -> Pruner:
    from sparrow.pruning.held_weights import hold, hold_gradients
    from sparrow.pruning.masks import budget_of, is_by_filter, masks_of
    from sparrow.pruning.pruner import Pruner

    class Iterative(Pruner):
        others = "all"
        budget = "filters" if is_by_filter(params) else "weights"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.layout, self.dense, self.done = layout, {n: w.detach().clone() for n, w in weights.items()}, 0
            self.masks: dict[str, torch.Tensor] = {}
            self.prune(weights)
            return list(weights.values())

        def prune(self, weights: Weights) -> None:
            self.done += 1
            scores = {name: weight.detach().abs() for name, weight in weights.items()}
            share = step_ratio(ratio, self.done, params.steps)
            # Under `lamp`, as for every method, the dense weights divide the ratio among the layers.
            budget = budget_of(self.dense, self.layout, share, params, scores)
            masks = masks_of(scores, self.layout, budget, params, weights)
            # What is gone stays gone, even where rounding would give a layer one unit more than in the step before.
            self.masks = {name: mask & self.masks[name] for name, mask in masks.items()} if self.done > 1 else masks
            self.apply(weights)

        def apply(self, weights: Weights) -> None:
            hold(weights, self.masks)

        def after_backward(self, weights: Weights, step: Step) -> None:
            hold_gradients(weights, self.masks)

        def after_step(self, weights: Weights, step: Step) -> None:
            self.apply(weights)
            if (step.number + 1) * (params.steps - 1) >= self.done * step.total and self.done < params.steps - 1:
                self.prune(weights)

        def end(self, weights: Weights) -> Masks:
            while self.done < params.steps:
                self.prune(weights)
            return self.masks

    return Iterative()
