"""Random pruning at initialisation: a mask drawn at random, whose weights are trained from scratch and never change places.

It is the control of all methods that start from an untrained network, as `random` is that of those that start from a dense
one: a method that looks for connections, before or while it trains, should beat connections that nobody looked for. Held
against `random` such a method wins too easily, since that one destroys what the dense network had learned.

Each layer keeps the share of its weights that `allocation` says, drawn uniformly; what stays is trained under the schedule of
pre-training, then fine-tuned as every method's network is. All prunable layers are pruned, the first and the last included.

At 90 % a network without batch norm does not train from its usual initial weights, since signals shrink in every layer: on
digits CNN-small never left chance. So there each layer is scaled by `density^-1/2`, which is the usual initialisation for the
number of inputs that are left (`rescale`; ours, the paper's networks have batch norm).

Source: after Liu et al., "The Unreasonable Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse
Training", ICLR 2022, whose layers are divided by `erk`; our default `igq`, that of `flying-bird`, after Vysogorets and Kempe,
"Connectivity Matters: Neural Network Pruning Through the Lens of Effective Sparsity", JMLR 2023.

BibTeX:

@inproceedings{liu2022unreasonable,
  author = {Liu, Shiwei and Chen, Tianlong and Chen, Xiaohan and Shen, Li and Mocanu, Decebal Constantin and Wang, Zhangyang
    and Pechenizkiy, Mykola},
  title = {The Unreasonable Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse Training},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}

@article{vysogorets2023connectivity,
  author = {Vysogorets, Artem and Kempe, Julia},
  title = {Connectivity Matters: Neural Network Pruning Through the Lens of Effective Sparsity},
  journal = {Journal of Machine Learning Research},
  year = {2023},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, FromScratch

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(FromScratch):
    """The share of each layer that is kept; which of its weights, is drawn at random."""

    criterion: ClassVar[Criterion] = "random"


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters under a mask drawn from `generator`."""
    from sparrow.pruning.random_start import RandomStart

    return RandomStart(params, ratio, generator)
