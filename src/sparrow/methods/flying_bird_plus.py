"""Flying Bird+: `flying-bird` whose density falls while the network overfits, and rises while it underfits.

As in the released code, in the second half of the schedule each exchange looks at the last five epochs, at four differences:
- if the gap between training and validation has grown in at least half of them, `ceil(0.4 dr n)` more weights of each layer go;
- if the validation loss has not fallen in at least half of them, 1.05 times as many come as otherwise.

Ours: the gap is `validation loss - training loss`, where the release takes training minus validation accuracy under attack,
which is not in the learning curve here. And the ratio: in the release the density at the end is what comes of it, a benchmark
needs it beforehand. So the network starts with more weights than it will keep (`surplus`), its density may fall to the final
one and no further, and the last exchange only removes, the smallest of all layers together, down to the ratio. A full layer
loses the further weights, too, where the release never touches one: at low ratios a network starts full. For the rest,
and for what is ours in `flying-bird` already, see there. Under an objective with a ramp the loss also grows with the ramp; the
first half of a schedule is meant to hold it.

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

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.exchange_params import ExchangingLayerwise
from sparrow.pruning.params import Locality

if TYPE_CHECKING:
    from sparrow.pruning.pruner import CurveRow, Masks, Pruner, Step, Weights


class Params(ExchangingLayerwise):
    """What `flying-bird` has, and when and how far the density moves."""

    locality: ClassVar[Locality] = "network"
    traces: ClassVar[bool] = True
    surplus: float = Field(0.5, ge=0)
    """How many more weights the network starts with than it keeps, relative to those. If every exchange pruned, those of the
    paper's 200 epochs would leave 32 % of them, those of 30 epochs 87 %."""
    extra_pruned: float = Field(0.4, ge=0)
    """Weights that go when the gap grows, over those that go anyway."""
    extra_grown: float = Field(0.05, ge=0)
    """Weights that come when the validation loss does not fall, over those that come anyway."""
    adapts_from: float = Field(0.5, ge=0, le=1)
    """Share of the schedule after which the density moves."""
    epochs_seen: int = Field(5, ge=2)
    """Epochs that an exchange looks back at."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Share of the differences between them that decides."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters under masks that change, drawn from `generator`."""
    from sparrow.pruning.exchange import LayerwiseExchange, without_smallest
    from sparrow.pruning.masks import pruned_count
    from sparrow.pruning.whole_network import exact

    class FlyingBirdPlus(LayerwiseExchange):
        def __init__(self) -> None:
            super().__init__(params, max(0.0, 1 - (1 + params.surplus) * (1 - ratio)), generator)
            self.gaps: list[float] = []
            self.losses: list[float] = []

        def epoch(self, row: CurveRow) -> None:
            self.gaps.append(row.validation_loss - row.train_loss)
            self.losses.append(row.validation_loss)

        def exchange(self, weights: Weights, step: Step) -> None:
            if self.is_last(step):
                self.masks = exact(self.masks, weights, ratio)
                return
            adapts = step.number + 1 >= params.adapts_from * step.total
            prunes = adapts and rises(self.gaps[-params.epochs_seen :]) >= params.threshold
            grows = adapts and rises(self.losses[-params.epochs_seen :], level=True) >= params.threshold
            going = {name: self.going(mask, step) for name, mask in self.masks.items()}
            coming = {
                name: min(round((1 + params.extra_grown * grows) * count), count + int((~self.masks[name]).sum()))
                for name, count in going.items()
            }
            extra = {name: self.going(mask, step, params.extra_pruned * prunes) for name, mask in self.masks.items()}
            room = self.kept() + sum(coming.values()) - sum(going.values()) - self.fewest()
            share = min(1.0, max(room, 0) / max(sum(extra.values()), 1))
            for name, mask in self.masks.items():
                left = without_smallest(mask, weights[name], going[name] + int(share * extra[name]))
                self.masks[name] = self.grown(name, left, coming[name])

        def kept(self) -> int:
            """How many weights of the network are active."""
            return sum(int(mask.sum()) for mask in self.masks.values())

        def fewest(self) -> int:
            """How many weights the network keeps in the end."""
            size = sum(mask.numel() for mask in self.masks.values())
            return size - pruned_count(size, ratio)

        def trace(self) -> dict[str, float]:
            return {"density": self.kept() / sum(mask.numel() for mask in self.masks.values())}

        def end(self, weights: Weights) -> Masks:
            return exact(self.masks, weights, ratio)

    return FlyingBirdPlus()


def rises(values: Sequence[float], level: bool = False) -> float:
    """The share of the steps from one of `values` to the next that go up (or stay `level`); 0 where there is none."""
    steps = [after > before or (level and after == before) for before, after in pairwise(values)]
    return sum(steps) / max(len(steps), 1)
