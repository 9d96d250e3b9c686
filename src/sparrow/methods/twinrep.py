"""TwinRep: every weight is a product of two parameters, so that weight decay drives products to zero; then one prune.

A layer computes with `W = a * b * M`, element by element, and `a`, `b`, biases and norms learn. The gradients are
`dL/da = dL/dW * b * M` and `dL/db = dL/dW * a * M`, to which decay adds `decay * a` and `decay * b`. As
`decay/2 (a^2 + b^2) >= decay |a b|`, that acts on `W` as an L1 penalty does. After the share `prune_at` of the schedule, M
becomes 1 for the `1 - ratio` share of the largest `|a b|` of all layers together, and training goes on under it. In the end
the products are the weights.

With `granularity: filter` the second parameter is a matrix (filters, filters) that mixes the layer's filters, `W = A w`,
also in linear layers, and filters compete by their L2 norm in W; the output layer is mixed, but keeps all of its neurons.

As in the released code, but for this: its prune comes before the 10th of 100 epochs, which `prune_at` says as a share of the
schedule. The first factor is the network's own initial weight, the second a draw from U(-1/sqrt(n), 1/sqrt(n)) of n inputs
(`product`): both are that draw in the released code. There filters of convolutions alone are pruned and layers that
are added up each lose their own; here neurons of hidden linear layers compete too, and coupled layers lose the same filters.
A layer that would lose all weights keeps its largest one. The classifier is pruned like all other layers. Biases and norms of
removed filters learn on, as there, and are removed in the end, which costs next to nothing (on digits, of the benign images of
validation, 82.2 became 81.1 % with cnn-small, and 96.7 stayed with cnn7).

Without batch norm the product of two draws is too small by a factor of about sqrt(3 n) in every layer, and cnn-small never
left chance: such networks need `initialisation: split`, which factorises the initial weights, and the study is refused
otherwise. And there the prune at 9 % comes too early for short schedules: after 49 of 540 steps on digits, at 0.9, cnn-small
stayed at chance whatever the allocation, and with `prune_at: 0.5` it ended at an era of 79 (78.9 under `global`, 78.6 under
`erk`). Near the initial weights, magnitudes over the whole network are those of their initialisation: all but one of the second
convolution's weights went. With batch norm in it, as released, it ended at 85.8, and at 88.1 with the later
prune, where random masks of the dense network ended at 81.7 (one seed, 360 images: some 4 points are no difference).

Source: Li et al., "Learning Adversarially Robust Sparse Networks via Weight Reparameterization", AAAI 2023, and its released
code (UCAS-LCH/Twin-Rep, b35cda3: models/layers.py, train.py).

BibTeX:

@inproceedings{li2023learning,
  author = {Li, Chenhao and Qiu, Qiang and Zhang, Zhibin and Guo, Jiafeng and Cheng, Xueqi},
  title = {Learning Adversarially Robust Sparse Networks via Weight Reparameterization},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2023},
}
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, Criterion, Global, Needs, Pipeline, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.params import Schedule
    from sparrow.pruning.pruner import Masks, Pruner, Step, Weights


class Params(Global, AnyGranularity):
    """The factors, and when they are pruned."""

    pipeline: ClassVar[Pipeline] = "during"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    criterion: ClassVar[Criterion] = "SPALWM"
    allocation: Literal["uniform", "erk", "lamp", "global"] = "global"
    """As in `lwm`, by the magnitudes of the products; in the paper they compete over the whole network."""
    initialisation: Literal["product", "split"] = "product"
    """Factors of the start: the initial weights and a random draw (`product`, for networks with batch norm alone), or factors
    whose product is the initial weights (`split`): sign(W) sqrt|W| and sqrt|W|, or W and the identity for filters."""
    decay: float = Field(2e-4, ge=0)
    """Weight decay of all that learns, both factors among it, in place of `training.pretrain.weight_decay`."""
    prune_at: float = Field(0.09, gt=0, lt=1)
    """Share of the schedule after which the network is pruned; 0.5 where the schedule has some hundred steps."""

    @property
    def batch_norm_only(self) -> str | None:
        """Products of two draws are too small for a network without norms."""
        needed = "products of two draws are too small to train without; valid: initialisation: split"
        return needed if self.initialisation == "product" else None

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """The schedule of pre-training with the decay that the method lives on."""
        return own.model_copy(update={"weight_decay": self.decay})

    def too_short(self, total: int, per_epoch: int) -> str | None:
        """A step has to be left behind the prune."""
        if math.ceil(self.prune_at * total) < total:
            return None
        return f"prune_at: {self.prune_at:g} leaves none of {total} steps to train under the mask; valid: less, or more epochs"


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains the factors of all weights."""
    from sparrow.pruning.masks import budget_of, is_by_filter, masks_of, pruned_count
    from sparrow.pruning.pruner import Pruner, gradient_of
    from sparrow.pruning.whole_network import keep_highest_everywhere

    by_filter = is_by_filter(params)

    class TwinRep(Pruner):
        others = "all"
        budget = "filters" if by_filter else "weights"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.layout = layout
            self.masks: Masks = {}
            pairs = {name: self.factors(weight.detach()) for name, weight in weights.items()}
            self.twins = {name: [factor.requires_grad_() for factor in pair] for name, pair in pairs.items()}
            self.show(weights)
            return [factor for pair in self.twins.values() for factor in pair]

        def factors(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """The first and the second factor of a layer's weight; with filters, the second one is their mixture."""
            if params.initialisation == "split":
                root = weight.abs().sqrt()
                return (weight.clone(), torch.eye(len(weight)).to(weight)) if by_filter else (weight.sign() * root, root)
            like = torch.empty(len(weight), len(weight)) if by_filter else torch.empty(weight.shape)
            bound = like[0].numel() ** -0.5
            return weight.clone(), like.uniform_(-bound, bound, generator=generator).to(weight)

        def show(self, weights: Weights) -> None:
            """Put the products, under the masks, in the weights' places."""
            for name, weight in weights.items():
                first, second = (factor.detach() for factor in self.twins[name])
                weight.data.copy_((second @ first.flatten(1)).view_as(first) if by_filter else first * second)
                if self.masks:
                    weight.data.mul_(self.masks[name])

        def after_backward(self, weights: Weights, step: Step) -> None:
            for name, (first, second) in self.twins.items():
                gradient = gradient_of(weights[name])
                if self.masks:
                    gradient = gradient * self.masks[name]
                if by_filter:
                    first.grad = (second.detach().T @ gradient.flatten(1)).view_as(first)
                    second.grad = gradient.flatten(1) @ first.detach().flatten(1).T
                else:
                    first.grad, second.grad = gradient * second.detach(), gradient * first.detach()

        def after_step(self, weights: Weights, step: Step) -> None:
            self.show(weights)
            if not self.masks and step.number + 1 >= params.prune_at * step.total:
                self.masks = self.largest(weights)
                self.show(weights)

        def largest(self, weights: Weights) -> Masks:
            """The masks of the largest products, or of the filters with the largest L2 norm."""
            scores = {
                name: weight.detach().square() if by_filter else weight.detach().abs() for name, weight in weights.items()
            }
            if params.allocation == "global" and not by_filter:
                size = sum(weight.numel() for weight in weights.values())
                return keep_highest_everywhere(scores, size - pruned_count(size, ratio), at_least=1)
            return masks_of(scores, self.layout, budget_of(weights, self.layout, ratio, params, scores), params, weights)

        def warning(self) -> str | None:
            left = [name for name, mask in self.masks.items() if int(mask.sum()) == 1 < mask.numel()]
            return f"of {', '.join(left)} one weight is left; valid: a larger prune_at, or allocation erk" if left else None

        def end(self, weights: Weights) -> Masks:
            return self.masks

    return TwinRep()
