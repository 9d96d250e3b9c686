"""FGSM: one step of length eps along the sign of the gradient.

Source: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, sec. 4.

BibTeX:

@inproceedings{goodfellow2015explaining,
  author = {Goodfellow, Ian J. and Shlens, Jonathon and Szegedy, Christian},
  title = {Explaining and Harnessing Adversarial Examples},
  booktitle = {International Conference on Learning Representations},
  year = {2015},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.adversary.params import InsideAttack
from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat


class Params(InsideAttack):
    """FGSM has no settings of its own."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf",)


def passes(params: Params, classes: int) -> tuple[float, float]:
    """Forward passes and gradients of an image: one gradient."""
    return 0, 1


def attack(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Adversarial images (n, c, h, w)."""
    import torchattacks

    from sparrow.adversary.contiguous import Contiguous
    from sparrow.adversary.search import live_network

    return torchattacks.FGSM(Contiguous(live_network(model, images)), eps=threat.eps)(images.contiguous(), labels)
