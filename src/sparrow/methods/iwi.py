"""After inverse weights inheritance (IWI): a sparse network is trained, a dense one inherits its weights, and that is pruned.

IWI is no pruning method. By the abstract, the only part of the paper that we have read, it makes a *large* network more robust
"by inheriting weights from a small network"; what the paper prunes with is iterative magnitude pruning, by the taxonomy of the
Adversarial Pruning Benchmark, and that is `imp`. A benchmark of pruned networks has no place for a dense result, so what is
here is our reading of it with a pruning behind, in three equal parts of the schedule:

1. the dense network is pruned by magnitude at `inherit_ratio`, and trained under that mask: the small network;
2. all weights are set free, and trained; those that were pruned begin at zero: the large network, which has inherited;
3. it is pruned by magnitude at the study's ratio, and trained under that mask. Fine-tuning follows, as for every method.

The first two parts are dense-sparse-dense training (DSD), with the third behind it; that is all there is to it. Learning rate
and ramp run through all parts as the schedule says, without beginning anew, where DSD trains each part by itself.

Source: Wang et al., "Achieving Adversarial Robustness via Sparsity", arXiv 2009.05423 (abstract; no code); Han et al., "DSD:
Dense-Sparse-Dense Training for Deep Neural Networks", ICLR 2017.

BibTeX:

@misc{wang2020achieving,
  author = {Wang, Shufan and Liao, Ningyi and Xiang, Liyao and Ye, Nanyang and Zhang, Quanshi},
  title = {Achieving Adversarial Robustness via Sparsity},
  year = {2020},
  eprint = {2009.05423},
  archiveprefix = {arXiv},
}

@inproceedings{han2017dsd,
  author = {Han, Song and Pool, Jeff and Narang, Sharan and Mao, Huizi and Gong, Enhao and Tang, Shijian and Elsen, Erich and
    Vajda, Peter and Paluri, Manohar and Tran, John and Catanzaro, Bryan and Dally, William J.},
  title = {{DSD}: Dense-Sparse-Dense Training for Deep Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2017},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Global, Needs, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Masks, Pruner, Step, Weights


class Params(Global):
    """How small the small network is, and where magnitudes compete."""

    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    criterion: ClassVar[Criterion] = "LWM"
    iterative: ClassVar[bool] = True
    allocation: Literal["uniform", "erk", "lamp", "global"] = "global"
    """As in `lwm`, in both prunings; the benchmark's taxonomy has the paper's pruning down as global."""
    inherit_ratio: float = Field(0.5, gt=0, lt=1)
    """Share of the weights that the small network is without; the study's ratio, if that is less."""


PARTS = 3


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains a sparse, a dense and a sparse network, each from the one before."""
    from sparrow.pruning.held_weights import hold, hold_gradients
    from sparrow.pruning.masks import budget_of, masks_of
    from sparrow.pruning.pruner import Pruner

    class Iwi(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.layout, self.part = layout, 0
            self.masks: dict[str, torch.Tensor] = {}
            self.prune(weights, min(params.inherit_ratio, ratio))
            return list(weights.values())

        def prune(self, weights: Weights, share: float) -> None:
            scores = {name: weight.detach().abs() for name, weight in weights.items()}
            budget = budget_of(weights, self.layout, share, params, scores)
            self.masks = masks_of(scores, self.layout, budget, params, weights)
            self.hold(weights)

        def hold(self, weights: Weights) -> None:
            hold(weights, self.masks)

        def after_backward(self, weights: Weights, step: Step) -> None:
            hold_gradients(weights, self.masks)

        def after_step(self, weights: Weights, step: Step) -> None:
            self.hold(weights)
            part = (step.number + 1) * PARTS // step.total
            if self.part < 1 <= part:
                self.masks = {}
            if self.part < PARTS - 1 <= part:
                self.prune(weights, ratio)
            self.part = part

        def end(self, weights: Weights) -> Masks:
            return self.masks

    return Iwi()
