"""ResNet-2B: a convolution (8 channels), two residual blocks (16 channels) without batch norm, and two linear layers (100,
classes).

112,006 parameters on 3 x 32 x 32 images and 10 classes.

Source: VNN-COMP's benchmark cifar10_resnet (S. Bak et al., "The Second International Verification of Neural Networks
Competition", 2021); layers and names of Verified-Intelligence/alpha-beta-CROWN, complete_verifier/model_defs.py (resnet2b),
commit 8250d5f.

BibTeX:

@misc{bak2021second,
  author = {Bak, Stanley and Liu, Changliu and Johnson, Taylor},
  title = {The Second International Verification of Neural Networks Competition ({VNN-COMP} 2021): Summary and Results},
  year = {2021},
  eprint = {2109.00498},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks import normalise
from sparrow.networks.params import Narrowest

CHANNELS = 8


class Params(normalise.Normalised):
    """The released network normalises its images: mean 0.4914, 0.4822, 0.4465, deviation 0.2471, 0.2435, 0.2616."""

    narrowest: ClassVar[Narrowest] = Narrowest("conv1.weight", CHANNELS)

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"conv1.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""
    normalise.check(params, shape)


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torch's default initialisation."""
    from sparrow.networks.small_residual import SmallResidual

    return SmallResidual(CHANNELS, 1, shape, classes, normalise.front(params, shape[0]))
