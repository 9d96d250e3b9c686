"""CNN7: five convolutions (64, 64, 128, 128, 128 channels, the third with stride 2) and two linear layers (512, classes), with
batch norm: the standard network of certified training.

17,192,650 parameters on 3 x 32 x 32 images and 10 classes.

Source: Shi et al., "Fast Certified Robust Training with Short Warmup", NeurIPS 2021; as in ADA-research/CTRAIN
(model_definitions/models_shi.py).

BibTeX:

@inproceedings{shi2021fast,
  author = {Shi, Zhouxing and Wang, Yihan and Zhang, Huan and Yi, Jinfeng and Hsieh, Cho-Jui},
  title = {Fast Certified Robust Training with Short Warmup},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture, Narrowest

CONVOLUTIONS = [(64, 1), (64, 1), (128, 2), (128, 1), (128, 1)]
"""Channels and stride; kernels are 3 x 3, with padding 1."""
HIDDEN = 512


class Params(Architecture):
    """Nothing to set."""

    batch_norm: ClassVar[bool] = True
    narrowest: ClassVar[Narrowest] = Narrowest("0.weight", CONVOLUTIONS[0][0])

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"0.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torch's default initialisation."""
    nn = torch.nn
    layers: list[torch.nn.Module] = []
    channels, height, width = shape
    for planes, stride in CONVOLUTIONS:
        layers += [nn.Conv2d(channels, planes, 3, stride, padding=1), nn.BatchNorm2d(planes), nn.ReLU()]
        channels, height, width = planes, -(-height // stride), -(-width // stride)
    layers += [nn.Flatten(), nn.Linear(channels * height * width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, classes))
