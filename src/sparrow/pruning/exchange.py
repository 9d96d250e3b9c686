"""Exchange of weights under a mask: the smallest of a layer go, and as many dormant ones come.

Source: Mocanu et al., "Scalable Training of Artificial Neural Networks with Adaptive Sparse Connectivity inspired by Network
Science", Nature Communications 2018 (SET); growth by gradient: Evci et al., "Rigging the Lottery", ICML 2020.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from sparrow.pruning.exchange_params import Exchanging
from sparrow.pruning.pruner import Weights, gradient_of
from sparrow.pruning.random_start import RandomStart
from sparrow.training.loop import Step


class Exchange(RandomStart):
    """A pruner that exchanges weights layer by layer as `Exchanging` says; each layer keeps the number that it started with.

    A weight that goes and is drawn at once keeps its value; every other that comes starts at 0. There is no exchange after
    which less than a whole interval would be left.
    """

    def __init__(self, params: Exchanging, ratio: float, generator: torch.Generator) -> None:
        super().__init__(params, ratio, generator)
        self._settings = params
        self._gradients: dict[str, Tensor] = {}

    def seen(self, weights: Weights, step: Step) -> None:
        if self._settings.growth == "gradient" and self.is_due(step):
            self._gradients = {name: gradient_of(weight).clone() for name, weight in weights.items()}

    def change(self, weights: Weights, step: Step) -> None:
        if self.is_due(step):
            self.exchange(weights, step)
            self._gradients = {}

    def is_due(self, step: Step) -> bool:
        """Whether there is an exchange after this step."""
        late = 2 * step.number >= step.total
        return is_due(step, self._settings.every_late if late else self._settings.every)

    def is_last(self, step: Step) -> bool:
        """Whether no exchange follows the one after this step."""
        return not any(self.is_due(replace(step, number=number)) for number in range(step.number + 1, step.total))

    def exchange(self, weights: Weights, step: Step) -> None:
        """Change the masks of all layers."""
        for name, mask in self.masks.items():
            count = self.going(mask, step)
            self.masks[name] = self.grown(name, without_smallest(mask, weights[name], count), count)

    def going(self, mask: Tensor, step: Step, factor: float = 1.0) -> int:
        """How many weights of a layer go after this step, if `factor` times the usual share does."""
        share = cosine(self._settings.exchanged, self._settings.exchanged_end, (step.number + 1) / step.total)
        return math.ceil(factor * share * int(mask.sum()))

    def grown(self, name: str, mask: Tensor, count: int) -> Tensor:
        """`mask`, that of layer `name`, and `count` dormant weights more."""
        if self._settings.growth == "gradient":
            return with_largest(mask, self._gradients[name].abs(), count)
        return with_random(mask, count, self.generator)


def is_due(step: Step, every: float) -> bool:
    """Whether something that happens every so many epochs, a whole number of steps, happens after this step.

    Not if less than that would be left of the schedule.
    """
    interval = max(1, round(every * step.per_epoch))
    done = step.number + 1
    return done % interval == 0 and done + interval <= step.total


def cosine(first: float, last: float, done: float) -> float:
    """A quantity that falls from `first` to `last` along half a cosine, once the share `done` of all steps is done."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def without_smallest(mask: Tensor, weight: Tensor, count: int) -> Tensor:
    """`mask` without the `count` smallest `|W|` that it keeps, all if there are fewer; of equal ones the first in memory go."""
    kept = mask.flatten().nonzero().flatten()
    order = weight.detach().flatten()[kept].abs().sort(stable=True).indices
    return _changed(mask, kept[order[:count]], False)


def with_random(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`mask` and `count` places that it lacks, all if there are fewer, drawn from `generator` (on the CPU)."""
    free = (~mask).flatten().nonzero().flatten()
    drawn = torch.randperm(len(free), generator=generator)[:count].to(free.device)
    return _changed(mask, free[drawn], True)


def with_largest(mask: Tensor, scores: Tensor, count: int) -> Tensor:
    """`mask` and the `count` places that it lacks, all if there are fewer, with the highest `scores`, which are shaped like it.

    Of equal scores, the last in memory come first.
    """
    free = (~mask).flatten().nonzero().flatten()
    order = scores.flatten()[free].sort(stable=True).indices
    return _changed(mask, free[order[max(len(free) - count, 0) :]], True)


def _changed(mask: Tensor, places: Tensor, value: bool) -> Tensor:
    """A copy of `mask` with `value` at `places` (n,), counted in memory."""
    changed = mask.clone()
    changed.view(-1)[places] = value
    return changed
