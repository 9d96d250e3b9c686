"""Iterative magnitude pruning with rewinding: train, remove the smallest weights, go back, and so on until the ratio is met.

With `f` the `fraction`, `p` the ratio and `n = ceil(log(1 - p) / log(1 - f))` rounds, from the initial network:

  for i = 1..n:  train `W * M` for a whole schedule (learning rate, ramp and momentum begin anew),
                 then drop from `M` the smallest `|W|` of all layers together, so that the share `max((1 - f)^i, 1 - p)` stays,
                 then go back: `rewind: weights` to all parameters and running statistics as they were after `rewind_epochs` of
                 the first round, `rewind: lr` in the learning rate alone;

and what is left then has its own, last training, which is not part of the search. Rounds at 0.2: 4 for a ratio of 0.5, 8 for
0.8, 11 for 0.9, 14 for 0.95, 21 for 0.99; the search costs as many trainings.

As in the released code of open_lth (facebookresearch/open_lth, lottery/runner.py and pruning/sparse_global.py); in robust
networks as Cosentino et al., Wang et al., and Li et al. (VITA-Group/CertifiedPruning) use it, whose networks are trained on the
adversarial or certified loss in every round. Rewinding to the initial weights is what the last one's released settings do.
Accelerated IMP, of which the abstract alone was at hand, is one setting: rounds that are shorter than the last training
(`round_epochs`, at most half of it in the paper), with `rewind: lr` in its authors' own library.

What is ours: the count is exact in every round (released codes lose one weight more); after rewinding to a later step than
the first the schedule begins at its beginning, where it would go on from that step; in shorter rounds warm-up and ramp keep
their shares of the round; every prunable layer competes, the last one too, where the released code for certified networks
prunes convolutions alone. No layer is emptied: each keeps its largest weight, and a layer that needed that is warned about.

Rounds must be long enough for weights to leave their start, since the largest initial ones are those of layers with few
inputs. On digits with cnn-small (seed 0, PGD of 40 steps), rounds of 30 and 3 epochs with rewound weights left 86 and 78
% of images robust at 0.9, and rounds of 15 and 3 epochs 69 and 10 % at 0.99: in the last case each of the two largest
layers was left with one weight, and with 32 it did not train either. With `rewind: lr`, rounds of 3 epochs gave 86 and 79
%.

Source: Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", ICLR 2019; rewinding
of weights after Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020, of the learning
rate after Renda, Frankle and Carbin, "Comparing Rewinding and Fine-tuning in Neural Network Pruning", ICLR 2020; robust
networks: Cosentino et al., "The Search for Sparse, Robust Neural Networks", arXiv 1912.02386; Wang et al., "Achieving
Adversarial Robustness via Sparsity", arXiv 2009.05423; Li et al., "Can Pruning Improve Certified Robustness of Neural
Networks?", TMLR 2023; shorter rounds after Zullich et al., "Speeding-up Pruning for Artificial Neural Networks: Introducing
Accelerated Iterative Magnitude Pruning", ICPR 2020.

BibTeX:

@inproceedings{frankle2019lottery,
  author = {Frankle, Jonathan and Carbin, Michael},
  title = {The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}

@inproceedings{frankle2020linear,
  author = {Frankle, Jonathan and Dziugaite, Gintare Karolina and Roy, Daniel M. and Carbin, Michael},
  title = {Linear Mode Connectivity and the Lottery Ticket Hypothesis},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}

@inproceedings{renda2020comparing,
  author = {Renda, Alex and Frankle, Jonathan and Carbin, Michael},
  title = {Comparing Rewinding and Fine-tuning in Neural Network Pruning},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}

@misc{cosentino2019search,
  author = {Cosentino, Justin and Zaiter, Federico and Pei, Dan and Zhu, Jun},
  title = {The Search for Sparse, Robust Neural Networks},
  year = {2019},
  eprint = {1912.02386},
  archiveprefix = {arXiv},
}

@misc{wang2020achieving,
  author = {Wang, Shufan and Liao, Ningyi and Xiang, Liyao and Ye, Nanyang and Zhang, Quanshi},
  title = {Achieving Adversarial Robustness via Sparsity},
  year = {2020},
  eprint = {2009.05423},
  archiveprefix = {arXiv},
}

@article{li2023can,
  author = {Li, Zhangheng and Chen, Tianlong and Li, Linyi and Li, Bo and Wang, Zhangyang},
  title = {Can Pruning Improve Certified Robustness of Neural Networks?},
  journal = {Transactions on Machine Learning Research},
  year = {2023},
}

@inproceedings{zullich2021speeding,
  author = {Zullich, Marco and Medvet, Eric and Pellegrino, Felice Andrea and Ansuini, Alessio},
  title = {Speeding-up Pruning for Artificial Neural Networks: Introducing Accelerated Iterative Magnitude Pruning},
  booktitle = {International Conference on Pattern Recognition},
  year = {2021},
}
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Locality, Method, Needs, Pipeline, Schedule, Trains

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import CurveRow, Masks, Pruner, Step, Weights


class Params(Method):
    """How much goes in a round, how long a round is, and what is rewound after it."""

    pipeline: ClassVar[Pipeline] = "before"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    iterative: ClassVar[bool] = True
    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion | None] = "LWM"
    fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the weights left that a round removes."""
    rewind: Literal["weights", "lr"] = "weights"
    """What begins anew after a round besides the schedule: all parameters and running statistics, or nothing (`lr`)."""
    rewind_epochs: float = Field(0.0, ge=0)
    """Rewind weights to where they were after so many epochs of the first round; to the initial ones if 0."""
    round_epochs: int | None = Field(None, ge=1)
    """Epochs of a round; as many as pre-training has if null. Fewer: accelerated IMP, at most half of them in its paper."""

    @model_validator(mode="after")
    def _rewinds_into_the_round(self) -> Params:
        if self.rewind == "lr" and self.rewind_epochs:
            raise ValueError(f"rewind_epochs is {self.rewind_epochs:g}, must be 0 with rewind: lr, which rewinds no weights")
        if self.round_epochs is not None and self.rewind_epochs > self.round_epochs:
            raise ValueError(f"rewind_epochs is {self.rewind_epochs:g}, must be at most round_epochs ({self.round_epochs})")
        return self

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """As many cycles of the schedule of pre-training as there are rounds, each with its ramp in proportion.

        Raises ValueError if the weights to rewind to come after a round's end.
        """
        count, epochs = rounds(ratio, self.fraction), self.round_epochs or pretrain.epochs
        if self.rewind_epochs > epochs:
            raise ValueError(f"rewind_epochs is {self.rewind_epochs:g}, must be at most the epochs of pretrain ({epochs})")
        ramp = shortened(pretrain.warmup_epochs, pretrain.ramp_epochs, pretrain.epochs, epochs)
        return Schedule(**pretrain.model_dump() | ramp | {"epochs": count * epochs, "cycles": count})


def rounds(ratio: float, fraction: float) -> int:
    """How many rounds it takes to remove the share `ratio` of all weights, each the share `fraction` of what is left."""
    return max(1, math.ceil(math.log1p(-ratio) / math.log1p(-fraction) - 1e-9))


def shortened(warmup: float, ramp: float, epochs: int, target: int) -> dict[str, float]:
    """Warm-up and ramp of a schedule of `epochs`, by name, for one of `target` epochs of which they take the same shares."""
    if target == epochs:
        return {"warmup_epochs": warmup, "ramp_epochs": ramp}
    begins = warmup * target / epochs
    # Rounding must not let the two take more than all.
    return {"warmup_epochs": begins, "ramp_epochs": min(ramp * target / epochs, math.nextafter(target - begins, 0))}


def kept_after(done: int, size: int, ratio: float, fraction: float) -> int:
    """How many of `size` weights are left after `done` rounds: the nearest number, and never fewer than `ratio` leaves."""
    from sparrow.pruning.masks import pruned_count

    last = size - pruned_count(size, ratio)
    return last if done >= rounds(ratio, fraction) else max(round((1 - fraction) ** done * size), last)


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains in rounds and removes the smallest `|W|` of all layers at the end of each."""
    from sparrow.pruning.held_weights import hold, hold_gradients
    from sparrow.pruning.pruner import Pruner
    from sparrow.pruning.whole_network import keep_highest_everywhere

    count = rounds(ratio, params.fraction)

    class Imp(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.weights = weights
            self.masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
            self.ended: int | None = None
            self.spared: set[str] = set()
            self.origin = self.as_it_is() if params.rewind == "weights" else {}
            return list(weights.values())

        def as_it_is(self) -> dict[str, torch.Tensor]:
            """A copy of all parameters and running statistics of the network."""
            return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

        def after_backward(self, weights: Weights, step: Step) -> None:
            hold_gradients(weights, self.masks)

        def after_step(self, weights: Weights, step: Step) -> None:
            hold(weights, self.masks)
            if params.rewind_epochs and step.number + 1 == max(1, round(params.rewind_epochs * step.per_epoch)):
                self.origin = self.as_it_is()
            if step.ends_cycle:
                self.ended = count if step.number + 1 == step.total else step.cycle + 1

        def epoch(self, row: CurveRow) -> None:
            # After validation, so that the learning curve is of the network that the round has trained.
            if self.ended is not None:
                self.prune(self.ended)
                self.ended = None

        def prune(self, ended: int) -> None:
            """Keep what `ended` rounds leave, and go back."""
            sizes = {name: weight.detach().abs() for name, weight in self.weights.items()}
            kept = kept_after(ended, sum(size.numel() for size in sizes.values()), ratio, params.fraction)
            unguarded = keep_highest_everywhere(sizes, kept, self.masks)
            self.spared |= {name for name, mask in unguarded.items() if not mask.any()}
            self.masks = keep_highest_everywhere(sizes, kept, self.masks, at_least=1)
            if params.rewind == "weights":
                self.network.load_state_dict(self.origin)
            hold(self.weights, self.masks)

        def end(self, weights: Weights) -> Masks:
            return self.masks

        def warning(self) -> str | None:
            if not self.spared:
                return None
            return f"ranking all layers together would have emptied {', '.join(sorted(self.spared))}; one weight stays in each"

    return Imp()
