"""TRADES' network for MNIST: two pairs of convolutions (32 and 64 channels, 3 x 3, no padding), each with max pooling behind,
and three linear layers (200, 200, classes) with dropout.

312,202 parameters on 1 x 28 x 28 images and 10 classes. At least 16 x 16 pixels.

Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019; layers, names and
initialisation of yaodongyu/TRADES, models/small_cnn.py (SmallCNN), commit 6e8e11b.

BibTeX:

@inproceedings{zhang2019theoretically,
  author = {Zhang, Hongyang and Yu, Yaodong and Jiao, Jiantao and Xing, Eric and El Ghaoui, Laurent and Jordan, Michael},
  title = {Theoretically Principled Trade-off between Robustness and Accuracy},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks import normalise
from sparrow.networks.params import Narrowest

CHANNELS, HIDDEN = (32, 64), (200, 200)


class Params(normalise.Normalised):
    """Dropout in training, and normalisation."""

    narrowest: ClassVar[Narrowest] = Narrowest("feature_extractor.conv1.weight", CHANNELS[0])
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the first hidden layer's outputs that dropout sets to zero in training; bounds are of the network without it."""

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"feature_extractor.conv1.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` are too small."""
    if min(map(_side, shape[1:])) < 1:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small for its {2 * len(CHANNELS)} convolutions")
    normalise.check(params, shape)


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, initialised as in the released code: the last layer with zeros."""
    from sparrow.networks.dropout import Dropout

    nn = torch.nn
    features: OrderedDict[str, torch.nn.Module] = OrderedDict()
    channels = shape[0]
    for pair, planes in enumerate(CHANNELS):
        for number in (2 * pair + 1, 2 * pair + 2):
            features[f"conv{number}"], features[f"relu{number}"] = nn.Conv2d(channels, planes, 3), nn.ReLU()
            channels = planes
        features[f"maxpool{pair + 1}"] = nn.MaxPool2d(2, 2)
    pixels = _side(shape[1]) * _side(shape[2])
    classifier: OrderedDict[str, torch.nn.Module] = OrderedDict()
    classifier |= {"fc1": nn.Linear(channels * pixels, HIDDEN[0]), "relu1": nn.ReLU(), "drop": Dropout(params.dropout)}
    classifier |= {"fc2": nn.Linear(*HIDDEN), "relu2": nn.ReLU(), "fc3": (last := nn.Linear(HIDDEN[1], classes))}
    model = nn.Sequential()
    for module in normalise.front(params, shape[0]):
        model.add_module("front", module)
    model.add_module("feature_extractor", nn.Sequential(features))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(classifier))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return model


def _side(pixels: int) -> int:
    """Height or width of the last map, for images with so many pixels on that side."""
    for _ in CHANNELS:
        pixels = (pixels - 4) // 2
    return pixels
