"""Robust scratch ticket (RST): scores choose a subnetwork of random constants on the robust objective; then it is trained.

While scores learn, every weight is the constant `sqrt(2 / fan_in)` with the sign of its initial value. As in `hydra`, scores
`s` are learned, of which each layer keeps the largest `|s|`, and by the straight-through estimator
`dL/ds = dL/dW * W0 * sign(s) + decay * s`. Scores start uniformly in `+-1 / sqrt(fan_in)`. Batch norm normalises, without
learning a scale or a shift, and biases stay as they are. The search is as long as a whole training, and under its schedule,
`training.pretrain`. `evaluate: [pruned]` shows the paper's ticket, whose weights nobody has trained; `finetuned` is what
training makes of it, its `ft_inherit`.

A layer loses `round(ratio * size)` weights; in the released code `int(ratio * size)`. `decay` takes the place of the schedule's
`weight_decay`, so that Adam and clipping treat it as they treat that one. The objective is the study's; there, PGD with 7 steps
whose network is in train mode. Networks have no biases there, where batch norm would undo them; here those of the network keep
their initial values. At zero a CNN-small hardly learned (on digits with `scale_fan`, tickets of two seeds had 23 and 10 %
empirical robust accuracy in place of 48 and 42 %). Every convolution and linear layer is pruned, as there.

Without batch norm each layer shrinks its signal by the square root of the share that it keeps, by 0.32 at ratio 0.9, and logits
of four layers by 0.01. `scale_fan` counts the inputs that are kept, which undoes it: on digits a CNN-small's ticket has 48 %
empirical robust accuracy in place of 27 %, though training makes no more of it (77 and 80 %, one seed). (In the released code
that option counts the inputs that are removed, and is off.)

Source: Fu et al., "Drawing Robust Scratch Tickets: Subnetworks with Inborn Robustness Are Found within Randomly Initialized
Networks", NeurIPS 2021; as in its released code (GATECH-EIC/Robust-Scratch-Ticket). Scores and estimator: Ramanujan et al.,
"What's Hidden in a Randomly Weighted Neural Network?", CVPR 2020.

BibTeX:

@inproceedings{fu2021drawing,
  author = {Fu, Yonggan and Yu, Qixuan and Zhang, Yang and Wu, Shang and Ouyang, Xu and Cox, David and Lin, Yingyan},
  title = {Drawing Robust Scratch Tickets: Subnetworks with Inborn Robustness Are Found within Randomly Initialized Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}

@inproceedings{ramanujan2020hidden,
  author = {Ramanujan, Vivek and Wortsman, Mitchell and Kembhavi, Aniruddha and Farhadi, Ali and Rastegari, Mohammad},
  title = {What's Hidden in a Randomly Weighted Neural Network?},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Needs, Patterned, PerLayer, Pipeline, Schedule, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Masks, Pruner, Weights


class Params(PerLayer, Patterned):
    """The random constants, and the decay of their scores, which learn along `training.pretrain`."""

    pipeline: ClassVar[Pipeline] = "before"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "scores"
    criterion: ClassVar[Criterion] = "LIS"
    allocation: Literal["uniform", "erk"] = "uniform"
    """How the ratio is divided among the layers: the same in all (`uniform`), or by the Erdős–Rényi kernel (`erk`)."""
    decay: float = Field(5e-4, ge=0)
    """L2 penalty of the scores, in place of the schedule's `weight_decay`."""
    scale_fan: bool = False
    """Constants for as many inputs as a layer keeps, `sqrt(2 / (fan_in * density))`; for networks without batch norm."""

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """A whole training, with the decay of the scores."""
        return Schedule(**pretrain.model_dump() | {"weight_decay": self.decay})


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that learns one score a weight."""
    from sparrow.pruning.learned_scores import Scored
    from sparrow.pruning.masks import budget_of, masks_of

    class RobustScratchTicket(Scored):
        def __init__(self) -> None:
            super().__init__(params)
            self.others = "statistics"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.drops = budget_of(weights, layout, ratio, params)
            scores = super().start(weights, layout)
            if params.scale_fan:
                for name, constants in self.frozen.items():
                    kept = constants.numel() - self.drops[name]
                    constants.mul_((constants.numel() / max(kept, 1)) ** 0.5)
                self.settle(weights, self.masks())
            return scores

        def frozen_values(self, weight: torch.Tensor) -> torch.Tensor:
            constant = torch.full_like(weight, (2 / weight[0].numel()) ** 0.5)
            return torch.where(weight < 0, -constant, constant)

        def first_scores(self, weight: torch.Tensor) -> torch.Tensor:
            bound = weight[0].numel() ** -0.5
            return (2 * torch.rand(weight.shape, generator=generator) - 1).mul_(bound).to(weight)

        def masks(self) -> Masks:
            sizes = {name: score.abs() for name, score in self.scores.items()}
            return masks_of(sizes, self.layout, self.drops, params, self.frozen)

    return RobustScratchTicket()
