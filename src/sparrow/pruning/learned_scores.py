"""Methods that learn scores of frozen weights with the straight-through estimator, and S2AP for all of them.

With frozen weights `W0` and scores `s`, a layer computes with `W = W0 * M`, where `M` is 1 for the units (weights or
filters) with the largest `|s|`. The estimator passes the gradient as if `M` were `|s|`: `dL/ds = dL/dW * W0 * sign(s)`,
summed over the filter where the unit is one.

S2AP minimises the loss at the worst scores nearby, `min_s max_z L(W0 * M(s + z))` with `|z_l| <= gamma |s_l|` in each
layer l. `z` is one ascent step of full length from `s`, `z_l = gamma |s_l| g_l / |g_l|`; the scores then descend along
the gradient at `s + z`, against the same adversarial examples. In the paper's searches of 20 epochs, reviews of it say, the
first five do without.

Source: Sehwag et al., "HYDRA: Pruning Adversarially Robust Neural Networks", NeurIPS 2020; S2AP after Piras et al.,
"S2AP: Score-space Sharpness Minimization for Adversarial Pruning", arXiv 2510.18381 (its problem statement; the ascent
step is that of adversarial weight perturbation, Wu et al., NeurIPS 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.networks.structure import Layout
from sparrow.pruning.masks import filter_sums, is_by_filter
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Masks, Pruner, Weights, gradient_of
from sparrow.training.loop import Step


class Scored(Pruner):
    """A pruner that learns scores of frozen weights; a method defines `masks`, which follow from the scores."""

    def __init__(
        self, params: Method, gain: float = 6.0, gamma: float = 0.0, freeze_norms: bool = False, warmup: float = 0.0
    ) -> None:
        """`gain` is that of the first scores; `gamma` the radius of S2AP, which begins after `warmup` epochs, and 0 without."""
        self._params, self._gain, self._gamma, self._warmup = params, gain, gamma, warmup
        self.others = "frozen" if freeze_norms else "norms"

    def masks(self) -> Masks:
        """The masks that follow from `self.scores` as they are now."""
        raise NotImplementedError

    def frozen_values(self, weight: Tensor) -> Tensor:
        """The values of a layer's kept weights as long as the scores learn: those of `weight`, the layer as it was."""
        return weight.clone()

    def first_scores(self, weight: Tensor) -> Tensor:
        """The scores that a layer begins with, of its frozen weights."""
        return initial_scores(weight, self._gain, is_by_filter(self._params))

    def start(self, weights: Weights, layout: Layout) -> list[Tensor]:
        self.layout = layout
        self.frozen = {name: self.frozen_values(weight.detach()) for name, weight in weights.items()}
        names = [name for group in layout.groups for name in group.layers] if is_by_filter(self._params) else list(weights)
        self.scores = {name: self.first_scores(self.frozen[name]) for name in names}
        self._show(weights)
        return list(self.scores.values())

    def after_backward(self, weights: Weights, step: Step) -> None:
        self.differentiate(weights)
        if self._gamma and step.number >= self._warmup * step.per_epoch:
            self._at_worst_scores(weights, step)

    def after_step(self, weights: Weights, step: Step) -> None:
        self._show(weights)

    def end(self, weights: Weights) -> Masks:
        return self.settle(weights, self.masks())

    def settle(self, weights: Weights, masks: Masks) -> Masks:
        """`masks`, after putting the frozen values in place where they keep them, and zeros elsewhere."""
        for name, mask in masks.items():
            weights[name].data.copy_(self.frozen[name] * mask)
        return masks

    def differentiate(self, weights: Weights) -> None:
        """Set the gradients of the scores (and of whatever else a method learns) from those of the effective weights."""
        for name, gradient in self.mask_gradients(weights).items():
            self.scores[name].grad = gradient * self.scores[name].sign()

    def mask_gradients(self, weights: Weights) -> dict[str, Tensor]:
        """`dL/dM` for every layer with scores, shaped like them."""
        gradients = {name: gradient_of(weights[name]) * self.frozen[name] for name in self.scores}
        if not is_by_filter(self._params):
            return gradients
        result: dict[str, Tensor] = {}
        for group in self.layout.groups:
            # One mask for all layers of the group, and the sum of their scores decides on it.
            total = filter_sums([gradients[name] for name in group.layers])
            result |= {name: total.view_as(self.scores[name]) for name in group.layers}
        return result

    def _show(self, weights: Weights) -> None:
        """Put the effective weights of the present scores in place."""
        self.settle(weights, self.masks())

    def _at_worst_scores(self, weights: Weights, step: Step) -> None:
        """Set the gradients of the scores to those at the worst scores nearby; the scores stay as they are."""
        before = {name: score.clone() for name, score in self.scores.items()}
        for score in self.scores.values():
            gradient = gradient_of(score)
            steepest = gradient / gradient.norm().clamp_min(torch.finfo(score.dtype).tiny)
            score += self._gamma * score.norm() * steepest
        self._show(weights)
        step.again()
        self.differentiate(weights)
        for name, score in self.scores.items():
            score.copy_(before[name])


def initial_scores(weight: Tensor, gain: float, by_filter: bool = False) -> Tensor:
    """`sqrt(gain / fan_in) * W / max|W|`, as released; for filters (n, 1, ...) with the L1 norm of each in place of `W`.

    All zero for a layer of zeros.
    """
    fan_in = weight[0].numel()
    sizes = weight.abs().flatten(1).sum(dim=1).view(-1, *[1] * (weight.dim() - 1)) if by_filter else weight
    largest = sizes.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
    return (gain / fan_in) ** 0.5 * sizes / largest
