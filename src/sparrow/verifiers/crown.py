"""CROWN: every layer's bounds by a backward pass of linear relaxations.

Source: Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions",
NeurIPS 2018, theorem 3.2.

BibTeX:

@inproceedings{zhang2018efficient,
  author = {Zhang, Huan and Weng, Tsui-Wei and Chen, Pin-Yu and Hsieh, Cho-Jui and Daniel, Luca},
  title = {Efficient Neural Network Robustness Certification with General Activation Functions},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat
from sparrow.verification.params import Verification


class Params(Verification):
    """CROWN has no settings of its own."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")


def bound(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Lower bound (n,) on the smallest margin."""
    from sparrow.verification.crown import smallest_margin

    with torch.no_grad():
        return smallest_margin(model, images, labels, threat, classes)


def together(model: torch.nn.Module, image: torch.Tensor, params: Params, classes: int) -> int | None:
    """How many images like `image` (1, c, h, w) are bounded within a minute or so on a core; None, if that is not known."""
    from sparrow.verification.crown import at_a_time

    return at_a_time(model, image, classes)
