"""The NRS loss: a penalty for ReLUs that the adversary may switch, so that training leaves few that are unstable.

Beside the objective's loss, `weight` times the mean, over the inputs of all ReLUs and over images, of
`-tanh(1 + l u / (|gamma|^gamma_power + 1e-20))`. l and u bound the input by interval arithmetic over the whole box of the
training radius, whatever the ramp has come to; batch norms have their running statistics, also while they train; gamma is the
scale of the batch norm right before the ReLU, without a gradient, and 1 where there is none. The term is least, -1, where l
and u have the same sign and are far from 0.

The tanh saturates: where l u is below -4 gamma^2, its slope is about 0 (0.01 there, 0.0005 at -5.5 gamma^2). So a neuron whose
bounds are wide around 0 is hardly moved at all; what the penalty does is to finish off those that are nearly stable. At a
large radius, in a deep network, or before an objective has tightened its bounds, most neurons are of the first kind, and more
`weight` helps them little. On digits (CNN-small, `adversarial` at 0.1, 30 epochs), 217 of 484 ReLUs were unstable without it,
205 at a weight of 0.01 and 123 at 0.1, with the same benign accuracy and era; a weight of 1 ended at chance (in 6 epochs).

As in the released code for a chain of layers. Ours: a power of |gamma|, so that any power goes with scales below 0; batch norm
has its own constant beside the variance (1e-8 there); residual networks, in which all ReLUs count, those behind a sum with
gamma 1 (there, those right behind a batch norm alone, by channels; a network that is no chain has no penalty in the simple
training script). The released weight is 0.01 beside FGSM, and 0.001 beside certified training.

Source: Li et al., "Can Pruning Improve Certified Robustness of Neural Networks?", TMLR 2023; released code
(VITA-Group/CertifiedPruning, LTH-training/bound_prop.py). Without gamma, the loss is that of Xiao et al., "Training for Faster
Adversarial Robustness Verification via Inducing ReLU Stability", ICLR 2019.

BibTeX:

@article{li2023can,
  author = {Li, Zhangheng and Chen, Tianlong and Li, Linyi and Li, Bo and Wang, Zhangyang},
  title = {Can Pruning Improve Certified Robustness of Neural Networks?},
  journal = {Transactions on Machine Learning Research},
  year = {2023},
}

@inproceedings{xiao2019training,
  author = {Xiao, Kai Y. and Tjeng, Vincent and Shafiullah, Nur Muhammad and Madry, Aleksander},
  title = {Training for Faster Adversarial Robustness Verification via Inducing {ReLU} Stability},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from sparrow.jobs.costs import METER
from sparrow.networks.modes import eval_mode
from sparrow.settings import Threat
from sparrow.training import inner_replay
from sparrow.training.additions import StabilityLoss
from sparrow.training.loss import CheckedLoss, Loss
from sparrow.verification import bounds, chain_bounds
from sparrow.verification.bounded_network import BoundedNetwork


class Penalty:
    """`weight` times the NRS loss of a network that is being trained: by Sparrow's own bounds for plain networks, else by
    auto_LiRPA's."""

    def __init__(self, params: StabilityLoss, threat: Threat, whole: nn.Module | None = None) -> None:
        """`threat` is the l-inf ball that the network is trained against. `whole` is a network of its architecture (in eval
        mode), if filters were cut out of it: these then count as the zeros that they would give, and the mean is over as many
        neurons as `whole` has."""
        self._params, self._threat, self._whole = params, threat, whole
        self._neurons: int | None = None
        self._views: weakref.WeakKeyDictionary[nn.Module, BoundedNetwork] = weakref.WeakKeyDictionary()

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """The term to add, a scalar, differentiable in the weights of `model`; images (n, c, h, w) in [0, 1].

        Raises NetworkError, naming the layer, if auto_LiRPA cannot bound one.
        """
        with torch.autocast(images.device.type, enabled=False):
            ranges = self._ranges(model, images)
            if self._whole is not None and self._neurons is None:
                with inner_replay.unrecorded():
                    self._neurons = sum(bounds.neurons(self._whole, images[:1].cpu()))
            if not ranges:
                return images.new_zeros(())
            each = METER.watch(nrs(ranges, self._params.gamma_power, self._neurons))
        return self._params.weight * each.mean()

    def on_top(self, model: nn.Module, images: Tensor, loss: Callable[[], Tensor]) -> Tensor:
        """`loss()` of the same images, a scalar, with the term added."""
        self._make_ready(model, images)
        return loss() + self(model, images)

    def _make_ready(self, model: nn.Module, images: Tensor) -> None:
        """Make what bounding `model` for batches shaped like `images` takes, if that is not there yet.

        It writes the weights back in place, so no graph over them may be waiting for its backward pass.
        """
        if model not in self._views and chain_bounds.chain(model) is None:
            with torch.autocast(images.device.type, enabled=False), inner_replay.unrecorded():
                self._views[model] = bounds.bounded(model, images)

    def _ranges(self, model: nn.Module, images: Tensor) -> list[bounds.Range]:
        if layers := chain_bounds.chain(model):
            with eval_mode(model):
                return chain_bounds.relu_inputs(layers, images, self._threat.eps)
        self._make_ready(model, images)
        return bounds.relu_inputs(self._views[model], model, images, self._threat)


def nrs(ranges: list[bounds.Range], gamma_power: float, neurons: int | None = None) -> Tensor:
    """The NRS loss (n,) of each image: the mean over all ReLU inputs, of all layers together.

    If they are fewer than `neurons`, the others are always 0.
    """
    sums, count = [], 0
    for lower, upper, scale in ranges:
        gamma = 1.0 if scale is None else scale.detach().abs().view(-1, *[1] * (lower.dim() - 2)) ** gamma_power + 1e-20
        sums.append(-torch.tanh(1 + lower * upper / gamma).flatten(1).sum(dim=1))
        count += lower[0].numel()
    neurons = count if neurons is None else neurons
    return (torch.stack(sums).sum(dim=0) - (neurons - count) * math.tanh(1)) / neurons


def penalised(loss: Loss, penalty: Penalty) -> Loss:
    """`loss` with the penalty on top; what it checks after an epoch stays."""
    if isinstance(loss, CheckedLoss):
        return replace(loss, loss=penalised(loss.loss, penalty))

    def both(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        return penalty.on_top(model, images, partial(loss, model, images, labels, progress))

    return both
