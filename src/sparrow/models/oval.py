"""The networks of the OVAL data set for verification: small convolutional ones, `base`, `wide` and `deep`.

`base` has two convolutions (8 and 16 channels, 4 x 4, stride 2), `wide` twice as many channels (it is `cnn-small`), `deep`
four convolutions (8 channels, the first and the last with stride 2); then come two linear layers (100, classes). 105,966,
214,918 and 54,902 parameters on 3 x 32 x 32 images and 10 classes.

Source: Lu and Kumar, "Neural Network Branching for Neural Network Verification", ICLR 2020; layers and names of
oval-group/scaling-the-convex-barrier, tools/bab_tools/model_utils.py (cifar_model_m2, cifar_model, cifar_model_deep), commit
4a1f814.

BibTeX:

@inproceedings{lu2020neural,
  author = {Lu, Jingyue and Kumar, M. Pawan},
  title = {Neural Network Branching for Neural Network Verification},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from typing import Literal

from sparrow.lazy_torch import torch
from sparrow.networks import convnet, normalise
from sparrow.networks.params import Narrowest

CONVOLUTIONS = {
    "base": [convnet.Conv(8, 4, 2), convnet.Conv(16, 4, 2)],
    "wide": [convnet.Conv(16, 4, 2), convnet.Conv(32, 4, 2)],
    "deep": [convnet.Conv(8, 4, 2), convnet.Conv(8, 3, 1), convnet.Conv(8, 3, 1), convnet.Conv(8, 4, 2)],
}
HIDDEN = [100]


class Params(normalise.Normalised):
    """The form of the network, and how it normalises its images."""

    form: Literal["base", "wide", "deep"] = "base"
    """Which of the three networks. The released ones normalise their images by the mean 0.485, 0.456, 0.406 and the deviation
    0.225."""

    @property
    def narrowest(self) -> Narrowest:
        """The first convolution."""
        return convnet.narrowest(CONVOLUTIONS[self.form], HIDDEN)

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of all layers."""
        return convnet.inputs(CONVOLUTIONS[self.form], HIDDEN, shape)


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` are too small."""
    convnet.check_size(CONVOLUTIONS[params.form], shape)
    normalise.check(params, shape)


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torch's default initialisation."""
    return convnet.build(CONVOLUTIONS[params.form], HIDDEN, shape, classes, normalise.front(params, shape[0]))
