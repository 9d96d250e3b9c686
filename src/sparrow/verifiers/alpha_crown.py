"""alpha-CROWN: CROWN with the slopes of the lower ReLU relaxations optimised by gradient ascent for each sample.

Source: Xu et al., "Fast and Complete: Enabling Complete Verification with Massively Parallel Incomplete Verifiers",
ICLR 2021.

BibTeX:

@inproceedings{xu2021fast,
  author = {Xu, Kaidi and Zhang, Huan and Wang, Shiqi and Wang, Yihan and Jana, Suman and Lin, Xue and Hsieh, Cho-Jui},
  title = {Fast and Complete: Enabling Complete Verification with Massively Parallel Incomplete Verifiers},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
}
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat
from sparrow.verification.params import Verification


class Params(Verification):
    """Settings of the optimisation of the slopes."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    batch_size: int = Field(50, ge=1)
    """Images per batch; every image has slopes of its own for every class, so that small batches are faster."""
    iterations: int = Field(20, ge=1)
    """Evaluations of the bound, with a gradient step on the slopes between each two."""
    lr: float = Field(0.5, gt=0)
    """Learning rate of the slopes (Adam)."""


def bound(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Lower bound (n,) on the smallest margin."""
    from sparrow.jobs.costs import METER
    from sparrow.verification import crown

    METER.add((params.iterations - 1) * len(images))  # The last iteration takes no gradient.
    return crown.smallest_margin(model, images, labels, threat, classes, crown.Slopes(params.iterations, params.lr))


def together(model: torch.nn.Module, image: torch.Tensor, params: Params, classes: int) -> int | None:
    """How many images like `image` (1, c, h, w) are bounded within a minute or so on a core; None, if that is not known."""
    from sparrow.verification import crown

    return crown.at_a_time(model, image, classes, crown.Slopes(params.iterations, params.lr))
