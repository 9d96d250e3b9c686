"""After MRPF: the more the robust loss can be raised by moving a module's weights, the larger the share of it that stays.

Of Module Robust Pruning and Fine-Tuning we have read the abstracts of both versions of the paper: its module robustness
sensitivity (MRS) "quantifies layer-wise sensitivity to adversarial perturbations", adapts the pruning ratio of each layer, and
goes with any adversarial training; what counts is said to be the ratios and the fine-tuning, not which of a layer's filters
go. We know of no code. The measure of that kind that comes before it, module robust criticality (MRC) of RiFT, has code, which
we have read (microsoft/robustlearn, RiFT/main.py, commit 31580cd): the rise of the robust loss, on adversarial images that stay
as they are, when the weights of one module go where it is largest, within a ball around them whose radius is `radius` times
their norm. That is what is computed here. So what is our reading is

- that MRS is MRC. Of it: a module is a layer (whose filters go together with those of others: all these layers, each in
  its ball); the loss is the study's objective, on perturbed images that are found once, where the weights are; it is averaged
  over batches, each with a worst place of its own (RiFT has one for all images, and takes those of the test set); the ascent is
  `ascents` normalised steps of 2.5 radii / `ascents`, projected each time (RiFT: plain SGD, projected once an epoch);
- how sensitivities become ratios: each module keeps a share proportional to `1 - strength + strength * s / mean s`, s being its
  sensitivity, at most all of it; one factor makes the shares meet the ratio. At least one filter stays;
- that each batch so costs `ascents` gradients a module besides its own (`sparrow cost` has its own alone);
- that the filters with the largest L1 norm stay, and that pruning is done at once. The fine-tuning is the study's, as for
  every method.

Measured on digits (CNN-small, adversarially trained): the first layer's sensitivity is an eighth of the second's, and it has no
more than 16 filters. So the more sensitivities count, the worse for whole filters: at a ratio of 0.75 an era of 80.3 % with
`strength` 0.25 and 67.2 % with 0.5, where equal shares of random filters have 79.4 % and of the largest 81.4 %; at 0.9 one
filter is left there and 56.9 %, below the 61.9 % of random ones. Single weights have 86.9 % at 0.9, random ones 50.3 %.

Source: Bai et al., "Adaptive Pruning with Module Robustness Sensitivity: Balancing Compression and Robustness", arXiv
2410.15176 (abstracts of v1 and v2); Zhu et al., "Improving Generalization of Adversarial Training via Robust Critical
Fine-Tuning", ICCV 2023 (abstract and code).

BibTeX:

@misc{bai2024adaptive,
  author = {Bai, Lincen and Tabia, Hedi and Santos-Rodr{\\'i}guez, Ra{\\'u}l},
  title = {Adaptive Pruning with Module Robustness Sensitivity: Balancing Compression and Robustness},
  year = {2024},
  eprint = {2410.15176},
  archiveprefix = {arXiv},
}

@inproceedings{zhu2023improving,
  author = {Zhu, Kaijie and Hu, Xixu and Wang, Jindong and Xie, Xing and Yang, Ge},
  title = {Improving Generalization of Adversarial Training via Robust Critical Fine-Tuning},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2023},
}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Batches, Criterion, Granular

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Step, Weights


class Params(Batches, Granular):
    """How sensitivities are measured, and what follows from them. The abstracts give no numbers."""

    criterion: ClassVar[Criterion] = "LWM"
    allocation: ClassVar[str] = "sensitivity"
    granularity: Literal["weight", "filter"] = "filter"
    """Remove whole output filters with their bias and norm (neurons in linear layers), as in the methods that the paper
    compares itself with, or single weights."""
    batches: int | None = Field(8, ge=1)
    """Batches that sensitivities are averaged over; one whole epoch if null."""
    radius: float = Field(0.1, gt=0)
    """How far the weights of a layer may go, relative to their L2 norm; 0.1 in RiFT's code."""
    ascents: int = Field(10, ge=1)
    """Steps up the loss for each module and batch; RiFT's code has 10 epochs."""
    strength: float = Field(0.25, ge=0, le=1)
    """How much sensitivities count: 0 for the same share in all modules, 1 for shares that are proportional to them."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that measures each module's sensitivity, and then keeps its largest filters."""
    from sparrow.pruning.masks import divide, is_by_filter, masks_of
    from sparrow.pruning.pruner import Pruner, gradient_of

    class Mrpf(Pruner):
        budget = "filters" if is_by_filter(params) else "weights"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.layout = layout
            if is_by_filter(params):
                self.modules = {group.layers[0]: list(group.layers) for group in layout.groups}
                self.sizes = layout.filters(weights)
            else:
                self.modules = {name: [name] for name in weights}
                self.sizes = {name: weight.numel() for name, weight in weights.items()}
            self.sensitivities, self.last = dict.fromkeys(self.modules, 0.0), 0.0
            return []

        def loss(self, batch: Batch) -> torch.Tensor:
            loss = batch.objective()
            self.last = loss.item()
            return loss

        def after_backward(self, weights: Weights, step: Step) -> None:
            before = self.last
            gradients = {name: gradient_of(weight).clone() for name, weight in weights.items()}
            for module, layers in self.modules.items():
                rise = self.highest({name: weights[name] for name in layers}, gradients, step) - before
                self.sensitivities[module] += max(rise, 0.0)

        def highest(self, layers: Weights, first: Weights, step: Step) -> float:
            """The highest loss on the way up from where the weights are, and have the gradients `first`; they stay there."""
            centres = {name: weight.detach().clone() for name, weight in layers.items()}
            losses = []
            for ascent in range(params.ascents):
                for name, weight in layers.items():
                    gradient, centre = gradient_of(weight) if ascent else first[name], centres[name]
                    radius = params.radius * centre.norm()
                    moved = weight.detach() - centre + 2.5 * radius / params.ascents * unit(gradient)
                    weight.data.copy_(centre + moved * (radius / moved.norm().clamp_min(1e-30)).clamp_max(1))
                step.again()
                losses.append(self.last)
            for name, weight in layers.items():
                weight.data.copy_(centres[name])
            return max(losses)

        def end(self, weights: Weights) -> Masks:
            kept = shares(self.sensitivities, self.sizes, ratio, params.strength)
            lost = {module: 1 - share for module, share in kept.items()}
            scores = {name: weight.detach().abs() for name, weight in weights.items()}
            return masks_of(scores, self.layout, divide(lost, self.sizes, ratio, spared=1), params, weights)

    return Mrpf()


def unit(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient, with an L2 norm of 1; a zero one as it is."""
    return gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)


def shares(sensitivities: Mapping[str, float], sizes: Mapping[str, int], ratio: float, strength: float) -> dict[str, float]:
    """The share that each module keeps: the larger the more sensitive it is, at most 1, and together what the ratio leaves."""
    mean = sum(sensitivities.values()) / len(sensitivities)
    if mean == 0:
        return dict.fromkeys(sizes, 1 - ratio)
    wanted = {module: 1 - strength + strength * value / mean for module, value in sensitivities.items()}
    low, high = 0.0, 1 / min(value for value in wanted.values() if value)
    for _ in range(200):  # More halvings than a float has digits.
        factor = (low + high) / 2
        kept = sum(min(1.0, factor * value) * sizes[module] for module, value in wanted.items())
        low, high = (factor, high) if kept < (1 - ratio) * sum(sizes.values()) else (low, factor)
    return {module: min(1.0, high * value) for module, value in wanted.items()}
