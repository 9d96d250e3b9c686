"""CROWN-IBP: intermediate layers bounded by IBP, the margin by one backward CROWN pass.

Source: Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR 2020.

BibTeX:

@inproceedings{zhang2020towards,
  author = {Zhang, Huan and Chen, Hongge and Xiao, Chaowei and Gowal, Sven and Stanforth, Robert and Li, Bo and Boning,
    Duane and Hsieh, Cho-Jui},
  title = {Towards Stable and Efficient Training of Verifiably Robust Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat
from sparrow.verification.params import Verification


class Params(Verification):
    """CROWN-IBP has no settings of its own."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")


def bound(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Lower bound (n,) on the smallest margin."""
    from sparrow.verification.bounds import smallest_margin

    with torch.no_grad():
        return smallest_margin(model, images, labels, threat, classes, "CROWN-IBP")
