"""The boosting ticket: one global mask from a cheap adversarial training, on top of the initial weights.

  1. train the dense network from its initial weights `W0` on FGSM images, `x' = clip(x + eps sign(dCE/dx))`, one step of full
     length without a random start, with a small learning rate;
  2. score every weight by its magnitude relative to its layer's mean, `|W| / mean |W|`, and keep the highest scores of all
     layers together;
  3. put the initial network under the mask: all parameters and running statistics go back. Its training, for the study's
     objective, is the last stage, not part of the search.

As in the released code (boosting-ticket/ticket_robust 2d9bffa, ticket.py, ratio.py and enhance.py; one pruning step,
`init_type=pure`). What is ours: the search takes the schedule `training.prune` (100 epochs there, as many as the last
training), its learning rate a tenth of pre-training's, as theirs for VGG-16; the count is exact; and biases and norms are
left as they are. In the released code every step multiplies a layer's biases by the share of weights that it keeps, so
that they vanish at high ratios, and zeroes scale and shift of channels that have lost their filter. As there, every
prunable layer competes, the last one too. No layer is emptied: each keeps its best weight, and a layer that needed that is
warned about; relative magnitudes make that rare, even near the initial weights.

The released rate of a tenth (of a half for ResNets) goes with 100 epochs of CIFAR-10. In a search of few steps it leaves the
initial magnitudes in their order, so that the mask is about random, and a network without batch norm may not train from it
at all: on digits with cnn-small at 0.9, 270 steps gave 16 and 64 % of robust images for two seeds, and with `search_lr: 1`
83 % for both.

Source: Li et al., "Towards Practical Lottery Ticket Hypothesis for Adversarial Training", arXiv 2003.05733.

BibTeX:

@misc{li2020towards,
  author = {Li, Bai and Wang, Shiqi and Jia, Yunhan and Lu, Yantao and Zhong, Zhenyu and Carin, Lawrence and Jana, Suman},
  title = {Towards Practical Lottery Ticket Hypothesis for Adversarial Training},
  year = {2020},
  eprint = {2003.05733},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Locality, Method, Needs, Pipeline, Schedule, Trains
from sparrow.settings import Radius

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Weights


class Params(Method):
    """The attack and the learning rate of the search."""

    pipeline: ClassVar[Pipeline] = "before"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    iterative: ClassVar[bool] = False
    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion | None] = "LWM"
    eps: Radius | None = None
    """Radius of FGSM in pixel units; the threat's if null."""
    search_lr: float = Field(0.1, gt=0)
    """Learning rate of the search, in units of pre-training's; 1 where the search has some hundred steps only."""

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """The study's `training.prune` with a learning rate of `search_lr` times its own."""
        return Schedule(**own.model_dump() | {"lr": self.search_lr * own.lr})


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the largest `|W| / mean |W|` after FGSM training, and the initial network."""
    from sparrow.adversary.fgsm import fgsm
    from sparrow.pruning.masks import pruned_count
    from sparrow.pruning.pruner import Pruner
    from sparrow.pruning.whole_network import keep_highest_everywhere

    class BoostingTicket(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.origin = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
            self.spared: list[str] = []
            return list(weights.values())

        def loss(self, batch: Batch) -> torch.Tensor:
            assert batch.threat is not None, "Params has an eps"
            attacked = fgsm(batch.model, batch.images, batch.labels, batch.threat)
            return torch.nn.functional.cross_entropy(batch.model(attacked), batch.labels)

        def end(self, weights: Weights) -> Masks:
            scores = {name: relative_magnitudes(weight.detach()) for name, weight in weights.items()}
            size = sum(score.numel() for score in scores.values())
            kept = size - pruned_count(size, ratio)
            unguarded = keep_highest_everywhere(scores, kept)
            self.spared = sorted(name for name, mask in unguarded.items() if not mask.any())
            self.network.load_state_dict(self.origin)
            return keep_highest_everywhere(scores, kept, at_least=1)

        def warning(self) -> str | None:
            if not self.spared:
                return None
            return f"ranking all layers together would have emptied {', '.join(self.spared)}; one weight stays in each"

    return BoostingTicket()


def relative_magnitudes(weight: torch.Tensor) -> torch.Tensor:
    """`|W| / mean |W|`, shaped like `weight`; all zero for a layer of zeros."""
    magnitudes = weight.abs()
    return magnitudes / magnitudes.mean().clamp_min(torch.finfo(weight.dtype).tiny)
