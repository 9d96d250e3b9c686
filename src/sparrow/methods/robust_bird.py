"""Robust bird: an early-bird ticket, the mask of largest magnitudes once a short training no longer moves it.

The initial network trains on the cross-entropy of the images as they are, which costs a fraction of adversarial training.
After each epoch a mask `m` keeps the largest `|W|` of all convolutions together. The search is over when the newest mask
differs from each of the four before it in at most the share `distance` of all places:

    d(m_i, m_j) = mean |m_i - m_j| <= 0.08

Then the smallest `|W|` of all convolutions and linear layers together are removed, and what is left trains on the objective
from the weights that it has, without rewinding, under `training.pretrain`, with a new optimiser. The search ends there, and the
rest of `training.prune` is not run; that schedule is how long it may take (200 epochs in the released code), and its learning
rate falls along the whole of it. Where it ends without a ticket, the last epoch's weights are pruned, with a warning.

The mask that is compared drops `round(ratio * size)` weights; in the released code `int(ratio * size) + 1`. A network without
convolutions is compared by its linear layers. No layer is left without a weight: its largest stays, and a warning says so.
Of what the released code can prune, channels (by the scales of batch norm) are not offered.

Two masks that keep the share k differ in at most 2k of all places. So at ratio 0.96 and above, 0.08 is no condition, and the
ticket is drawn as soon as there are enough masks, after epoch 5; a warning says so. `relative` takes `distance` as a share of
the largest that is possible: 0.2 is then, at any ratio, what 0.08 is at the paper's 0.8.

Source: Chen et al., "Sparsity Winning Twice: Better Robust Generalization from More Efficient Training", ICLR 2022; as in its
released code (VITA-Group/Sparsity-Win-Robust-Generalization, Robust-Bird). The test for a ticket: You et al., "Drawing
Early-Bird Tickets: Toward More Efficient Training of Deep Networks", ICLR 2020.

BibTeX:

@inproceedings{chen2022sparsity,
  author = {Chen, Tianlong and Zhang, Zhenyu and Wang, Pengjun and Balachandra, Santosh and Ma, Haoyu and Wang, Zehao and
    Wang, Zhangyang},
  title = {Sparsity Winning Twice: Better Robust Generalization from More Efficient Training},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}

@inproceedings{you2020drawing,
  author = {You, Haoran and Li, Chaojian and Xu, Pengfei and Fu, Yonggan and Wang, Yue and Chen, Xiaohan and
    Baraniuk, Richard G. and Wang, Zhangyang and Lin, Yingyan},
  title = {Drawing Early-Bird Tickets: Toward More Efficient Training of Deep Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Locality, Method, Needs, Pipeline, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Step, Weights


class Params(Method):
    """What the search trains on, and when its mask counts as settled."""

    pipeline: ClassVar[Pipeline] = "before"
    iterative: ClassVar[bool] = True
    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion] = "LWM"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    traces: ClassVar[bool] = True
    stage1: Literal["benign", "objective"] = "benign"
    """What the search minimises: the cross-entropy of the images as they are, as in the paper, or the study's objective, whose
    ramp then goes along `training.prune`."""
    masks: int = Field(5, ge=2)
    """How many masks, of as many epochs, the newest among them, have to agree."""
    distance: float = Field(0.08, gt=0, lt=1)
    """Largest share of places in which the newest mask may differ from each of the others."""
    relative: bool = False
    """Take `distance` as a share of the largest that is possible at the ratio, `2 * min(ratio, 1 - ratio)`."""

    def too_short(self, total: int, per_epoch: int) -> str | None:
        """There has to be an epoch for each of the masks that have to agree."""
        if self.masks * per_epoch <= total:
            return None
        return f"masks: {self.masks} of as many epochs, but there are {total // per_epoch}; valid: fewer, or more epochs"


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters until the mask of their largest has settled."""
    from sparrow.pruning.masks import keep_highest, pruned_count
    from sparrow.pruning.pruner import Pruner
    from sparrow.pruning.whole_network import keep_highest_everywhere

    largest = 2 * min(ratio, 1 - ratio)
    allowed = params.distance * largest if params.relative else params.distance

    class RobustBird(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.recent: list[torch.Tensor] = []
            self.epochs = 0
            self.emptied: list[str] = []
            return list(weights.values())

        def loss(self, batch: Batch) -> torch.Tensor:
            if params.stage1 == "objective":
                return batch.objective()
            return torch.nn.functional.cross_entropy(batch.model(batch.images), batch.labels)

        def after_step(self, weights: Weights, step: Step) -> None:
            if step.ends_epoch:
                self.epochs += 1
                self.recent = [*self.recent, compared_mask(weights)][-params.masks :]

        def distances(self) -> list[float]:
            """The share of places in which the newest mask differs from each of the others, the oldest first."""
            *others, newest = self.recent
            return [(other != newest).double().mean().item() for other in others]

        def trace(self) -> dict[str, float]:
            return {"distance of masks": max(self.distances(), default=1.0)}

        def finished(self) -> bool:
            return len(self.recent) == params.masks and max(self.distances()) <= allowed

        def end(self, weights: Weights) -> Masks:
            sizes = {name: weight.detach().abs() for name, weight in weights.items()}
            total = sum(size.numel() for size in sizes.values())
            kept = total - pruned_count(total, ratio)
            masks = keep_highest_everywhere(sizes, kept, at_least=1)
            freely = keep_highest_everywhere(sizes, kept)
            self.emptied = [name for name, mask in masks.items() if mask.any() and not freely[name].any()]
            return masks

        def warning(self) -> str | None:
            told = []
            if not self.finished():
                told.append(
                    f"its masks have not settled in {self.epochs} epochs, and the ticket is that of the last; more epochs of "
                    "pruning may help, or a larger distance"
                )
            elif allowed > largest or math.isclose(allowed, largest):  # 2 (1 - 0.96) is not 0.08 to the bit.
                told.append(
                    f"at ratio {ratio:g} no two masks differ by more than {largest:g}, which its distance allows: the ticket "
                    f"was drawn after epoch {self.epochs}, whatever it is; relative: true makes the distance count"
                )
            if self.emptied:
                told.append(f"{', '.join(self.emptied)} would have lost all weights, and keeps one")
            return "; ".join(told) or None

    def compared_mask(weights: Weights) -> torch.Tensor:
        """The mask (places,) of the largest weights of all convolutions, or of all layers where there is none."""
        convolutions = [weight for weight in weights.values() if weight.dim() > 2]
        sizes = torch.cat([weight.detach().abs().flatten() for weight in convolutions or weights.values()])
        return keep_highest(sizes, pruned_count(len(sizes), ratio))

    return RobustBird()
