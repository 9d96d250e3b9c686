"""Random pruning: weights (or filters) drawn uniformly in each layer, the control that every method has to beat.

Source: the control of Blalock et al., "What is the State of Neural Network Pruning?", MLSys 2020.

BibTeX:

@inproceedings{blalock2020what,
  author = {Blalock, Davis and Gonzalez Ortiz, Jose Javier and Frankle, Jonathan and Guttag, John},
  title = {What is the State of Neural Network Pruning?},
  booktitle = {Proceedings of Machine Learning and Systems (MLSys)},
  year = {2020},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.lazy_torch import torch
from sparrow.pruning.params import AnyGranularity, Criterion, PerLayer

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(PerLayer, AnyGranularity):
    """The share of each layer that is removed; which of its weights, is drawn at random."""

    criterion: ClassVar[Criterion | None] = "random"


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner whose choice is drawn from `generator`."""
    from sparrow.pruning.one_shot import OneShot

    def score(weight: torch.Tensor) -> torch.Tensor:
        return torch.rand(weight.shape, generator=generator).to(weight.device)

    return OneShot(params, ratio, score)
