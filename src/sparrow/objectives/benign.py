"""Cross-entropy on the images as they are: ordinary training, the non-robust reference.

Source: the benign baseline of Sehwag et al., "Towards Compact and Robust Deep Neural Networks", arXiv 1906.06110.

BibTeX:

@misc{sehwag2019towards,
  author = {Sehwag, Vikash and Wang, Shiqi and Mittal, Prateek and Jana, Suman},
  title = {Towards Compact and Robust Deep Neural Networks},
  year = {2019},
  eprint = {1906.06110},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from collections.abc import Callable

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import Objective


class Params(Objective):
    """Nothing to set."""


def prepare(params: Params, threat: Threat | None) -> Callable:
    """The loss; `threat` plays no part in it."""

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(images), labels)

    return loss
