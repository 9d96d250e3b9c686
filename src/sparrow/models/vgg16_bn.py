"""VGG-16 with batch norm: thirteen convolutions, four of them with pooling behind, and three linear layers (256, 256, classes).

15,311,818 parameters on images of 3 channels and 10 classes. At least 16 x 16 pixels.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015; form, names
and initialisation of HYDRA's released code (inspire-group/hydra, models/vgg_cifar.py), which is the Adversarial Pruning
Benchmark's base model, too.

BibTeX:

@inproceedings{simonyan2015very,
  author = {Simonyan, Karen and Zisserman, Andrew},
  title = {Very Deep Convolutional Networks for Large-Scale Image Recognition},
  booktitle = {International Conference on Learning Representations},
  year = {2015},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture, Narrowest

CHANNELS = [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]]
SMALLEST = 2 ** (len(CHANNELS) - 1)


class Params(Architecture):
    """Nothing to set."""

    batch_norm: ClassVar[bool] = True
    narrowest: ClassVar[Narrowest] = Narrowest("features.0.weight", CHANNELS[0][0])

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"features.0.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` are too small."""
    if min(shape[1:]) < SMALLEST:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small for its {len(CHANNELS) - 1} poolings")


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, initialised as in the released code."""
    nn = torch.nn
    layers: list[torch.nn.Module] = []
    channels = shape[0]
    for number, group in enumerate(CHANNELS):
        layers += [nn.MaxPool2d(2)] if number else []
        for planes in group:
            layers += [nn.Conv2d(channels, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU()]
            channels = planes
    head = [nn.Linear(4 * channels, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, classes)]
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*layers))
    # auto_LiRPA 0.3 knows no adaptive pooling of maps with odd sides.
    sides = [side // SMALLEST for side in shape[1:]]
    odd = any(side % 2 for side in sides)
    model.add_module("avgpool", _pooled_by_four(*sides) if odd else nn.AdaptiveAvgPool2d(2))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(*head))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return model


def _pooled_by_four(height: int, width: int) -> torch.nn.Module:
    from sparrow.networks.pooled_by_four import PooledByFour

    return PooledByFour(height, width)
