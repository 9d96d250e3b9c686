"""CNN-large: four convolutions (32, 32, 64, 64 channels, two of them with stride 2), then linear layers (512, 512, classes).

2,466,858 parameters on 3 x 32 x 32 images.

Source: the large network for verifiable training in the released code of Sehwag et al., "HYDRA", NeurIPS 2020
(inspire-group/hydra), after Wong et al., NeurIPS 2018.

BibTeX:

@inproceedings{sehwag2020hydra,
  author = {Sehwag, Vikash and Wang, Shiqi and Mittal, Prateek and Jana, Suman},
  title = {{HYDRA}: Pruning Adversarially Robust Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}

@inproceedings{wong2018scaling,
  author = {Wong, Eric and Schmidt, Frank R. and Metzen, Jan Hendrik and Kolter, J. Zico},
  title = {Scaling Provable Adversarial Defenses},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks import convnet
from sparrow.networks.params import Architecture, Narrowest

CONVOLUTIONS = [convnet.Conv(32, 3, 1), convnet.Conv(32, 4, 2), convnet.Conv(64, 3, 1), convnet.Conv(64, 4, 2)]
HIDDEN = [512, 512]


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
