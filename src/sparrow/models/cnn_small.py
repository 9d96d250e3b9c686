"""CNN-small: two convolutions (16 and 32 channels, 4 x 4, stride 2) and two linear layers (100, classes).

214,918 parameters on 3 x 32 x 32 images, 22,406 on 1 x 8 x 8.

Source: the small network for verifiable training in the released code of Sehwag et al., "HYDRA", NeurIPS 2020
(inspire-group/hydra), after Wong and Kolter, ICML 2018.

BibTeX:

@inproceedings{sehwag2020hydra,
  author = {Sehwag, Vikash and Wang, Shiqi and Mittal, Prateek and Jana, Suman},
  title = {{HYDRA}: Pruning Adversarially Robust Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}

@inproceedings{wong2018provable,
  author = {Wong, Eric and Kolter, J. Zico},
  title = {Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks import convnet
from sparrow.networks.params import Architecture, Narrowest

CONVOLUTIONS = [convnet.Conv(16, 4, 2), convnet.Conv(32, 4, 2)]
HIDDEN = [100]


class Params(Architecture):
    """Nothing to set."""

    narrowest: ClassVar[Narrowest] = convnet.narrowest(CONVOLUTIONS, HIDDEN)

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of all layers."""
        return convnet.inputs(CONVOLUTIONS, HIDDEN, shape)


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` are too small."""
    convnet.check_size(CONVOLUTIONS, shape)


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torch's default initialisation."""
    return convnet.build(CONVOLUTIONS, HIDDEN, shape, classes)
