"""Flying Bird: adversarial training of a sparse network that exchanges its smallest weights for random dormant ones.

As in the released code: the masks are drawn at random, with densities by `igq`. After every so many steps t (of T), and in each
layer by itself, the `ceil(dr n)` smallest of its n weights go, where `dr(t) = 0.005 + (0.5 - 0.005)(1 + cos(pi t / T)) / 2`,
then as many of its dormant places become active. A weight that goes and is drawn at once keeps its value, every other that
comes starts at 0. All prunable layers take part, the first and the last included.

Ours: exactly as many weights come as go (the release draws every place with the probability that hits the number on average);
intervals are counted in epochs, so that they do not depend on how many steps an epoch has; there is no exchange after which
less than an interval would be left, so that what has come is trained; the gradient is masked before the step, where the
release clears the momentum of what is outside the mask after it; and `rescale` (see `random-scratch`). The released code stops
at its first exchange, reading `args.dynamic_sparse`, an option that it does not define; this is what it does without.

A weight that comes where no gradient ever does, as behind the border pixels of digits, which are always black, stays 0: it
counts as kept. With `growth: gradient` there is hardly one.

Source: Chen et al., "Sparsity Winning Twice: Better Robust Generalization from More Efficient Training", ICLR 2022; numbers and
order of the updates of its released code (VITA-Group/Sparsity-Win-Robust-Generalization).

BibTeX:

@inproceedings{chen2022sparsity,
  author = {Chen, Tianlong and Zhang, Zhenyu and Wang, Pengjun and Balachandra, Santosh and Ma, Haoyu and Wang, Zehao and
    Wang, Zhangyang},
  title = {Sparsity Winning Twice: Better Robust Generalization from More Efficient Training},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparrow.lazy_torch import torch
from sparrow.pruning.exchange_params import ExchangingLayerwise

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(ExchangingLayerwise):
    """How many weights are exchanged, how often, and which of the dormant ones come."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters under masks that change, drawn from `generator`."""
    from sparrow.pruning.exchange import LayerwiseExchange

    return LayerwiseExchange(params, ratio, generator)
