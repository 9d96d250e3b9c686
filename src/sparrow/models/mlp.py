"""A fully connected network: linear layers with ReLU between them, as wide as `hidden` says.

With two hidden layers of 256, 269,322 parameters on 1 x 28 x 28 images and 10 classes.

Source: the networks of VNN-COMP's benchmark mnistfc, of two, four or six hidden layers of 256 (S. Bak et al., "The Second
International Verification of Neural Networks Competition", 2021); names as in Verified-Intelligence/alpha-beta-CROWN,
complete_verifier/model_defs.py (mnist_fc), commit 8250d5f.

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

from typing import Annotated

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks import convnet, normalise
from sparrow.networks.params import Narrowest


class Params(normalise.Normalised):
    """How wide and how deep."""

    hidden: list[Annotated[int, Field(ge=1)]] = Field([256, 256], min_length=1)
    """Outputs of each hidden layer."""

    @property
    def narrowest(self) -> Narrowest:
        """The smallest hidden layer."""
        return convnet.narrowest([], self.hidden)

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of all layers."""
        return convnet.inputs([], self.hidden, shape)


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""
    normalise.check(params, shape)


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torch's default initialisation."""
    return convnet.build([], params.hidden, shape, classes, normalise.front(params, shape[0]))
