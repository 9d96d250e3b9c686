"""WRN-28-4: a wide residual network of 28 layers, four times as wide as a ResNet.

5,849,050 parameters on 3 x 32 x 32 images and 10 classes.

Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016; names and initialisation of TRADES' released code.

BibTeX:

@inproceedings{zagoruyko2016wide,
  author = {Zagoruyko, Sergey and Komodakis, Nikos},
  title = {Wide Residual Networks},
  booktitle = {British Machine Vision Conference},
  year = {2016},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture, Narrowest


class Params(Architecture):
    """Nothing to set."""

    batch_norm: ClassVar[bool] = True
    narrowest: ClassVar[Narrowest] = Narrowest("conv1.weight", 16)

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"conv1.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, freshly initialised."""
    from sparrow.networks import wide_residual

    return wide_residual.WideResidual(28, 4, shape, classes)
