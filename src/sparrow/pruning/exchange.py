"""Exchange of weights under masks that change while a network trains: the smallest go, and dormant ones come.

Source: Mocanu et al., "Scalable Training of Artificial Neural Networks with Adaptive Sparse Connectivity inspired by Network
Science", Nature Communications 2018 (SET); growth by gradient: Evci et al., "Rigging the Lottery", ICML 2020.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from sparrow.pruning.exchange_params import Exchanging, ExchangingLayerwise
from sparrow.pruning.pruner import Weights, gradient_of
from sparrow.pruning.random_start import RandomStart
from sparrow.training.loop import Step


class Exchange(RandomStart):
    """A pruner that starts with random masks and changes them every few epochs; a method says how.

    There is no exchange after which less than a whole interval would be left, so that what has come is trained. A weight that
    goes and comes in the same exchange keeps its value; every other that comes starts at 0.
    """

    def __init__(self, params: Exchanging, ratio: float, generator: torch.Generator) -> None:
        super().__init__(params, ratio, generator)
        self._settings, self.exchanges = params, 0

    def exchange(self, weights: Weights, step: Step) -> None:
        """Change `self.masks`, if it is due."""
        raise NotImplementedError

    def every(self, step: Step) -> float:
        """Epochs between two exchanges, at this step."""
        return self._settings.every

    def change(self, weights: Weights, step: Step) -> None:
        if self.is_due(step):
            self.exchange(weights, step)
            self.exchanges += 1

    def is_due(self, step: Step) -> bool:
        """Whether there is an exchange after this step. Intervals are whole numbers of steps."""
        interval = max(1, round(self.every(step) * step.per_epoch))
        done = step.number + 1
        return done % interval == 0 and done + interval <= step.total

    def is_last(self, step: Step) -> bool:
        """Whether no exchange follows the one after this step."""
        return not any(self.is_due(replace(step, number=number)) for number in range(step.number + 1, step.total))

    def going(self, mask: Tensor, step: Step, factor: float = 1.0) -> int:
        """How many weights of a layer with this mask go after this step, or `factor` times as many; rounded up."""
        share = cosine(self._settings.exchanged, self._settings.exchanged_end, (step.number + 1) / step.total)
        return math.ceil(factor * share * int(mask.sum()))

    def warning(self) -> str | None:
        if self.exchanges:
            return None
        return (
            "exchanged no weights, since its schedule is shorter than two intervals; it trained the random masks that it drew"
        )


class LayerwiseExchange(Exchange):
    """A pruner whose layers get back as many weights as they give away, random ones or those with the largest gradients."""

    def __init__(self, params: ExchangingLayerwise, ratio: float, generator: torch.Generator) -> None:
        super().__init__(params, ratio, generator)
        self._layerwise, self.gradients = params, dict[str, Tensor]()

    def every(self, step: Step) -> float:
        return self._layerwise.every_late if 2 * step.number >= step.total else self._layerwise.every

    def seen(self, weights: Weights, step: Step) -> None:
        due = self._layerwise.growth == "gradient" and self.is_due(step)
        self.gradients = {name: gradient_of(weight).clone() for name, weight in weights.items()} if due else {}

    def exchange(self, weights: Weights, step: Step) -> None:
        for name, mask in self.masks.items():
            count = self.going(mask, step)
            self.masks[name] = self.grown(name, without_smallest(mask, weights[name], count), count)

    def grown(self, name: str, mask: Tensor, count: int) -> Tensor:
        """`mask`, that of layer `name`, and `count` dormant weights more."""
        if self._layerwise.growth == "gradient":
            return with_largest(mask, self.gradients[name].abs(), count)
        return with_random(mask, count, self.generator)


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
