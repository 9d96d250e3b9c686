"""The plain convolutional networks of the certified-training literature: convolutions, then linear layers, no batch norm."""

from __future__ import annotations

from typing import NamedTuple

from sparrow.lazy_torch import torch
from sparrow.networks.params import Narrowest


class Conv(NamedTuple):
    """Output channels, kernel size and stride of one convolution; padding is 1."""

    channels: int
    kernel: int
    stride: int


def check_size(convolutions: list[Conv], shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` (channels, height, width) are too small for so many convolutions."""
    height, width = _output_size(convolutions, shape)
    if min(height, width) < 1:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small for its {len(convolutions)} convolutions")


def narrowest(convolutions: list[Conv], hidden: list[int]) -> Narrowest:
    """The narrowest of the layers that `build` puts before the output layer, the first of several."""
    layers = [Narrowest(f"{2 * place}.weight", conv.channels) for place, conv in enumerate(convolutions)]
    behind = 2 * len(convolutions) + 1
    layers += [Narrowest(f"{behind + 2 * place}.weight", width) for place, width in enumerate(hidden)]
    return min(layers, key=lambda layer: layer.filters)


def inputs(convolutions: list[Conv], hidden: list[int], shape: tuple[int, int, int]) -> dict[str, int]:
    """How many inputs each output of a layer of `build` has, by the name of its weights; all but a front of fixed numbers."""
    channels, found = shape[0], {}
    for place, conv in enumerate(convolutions):
        found[f"{2 * place}.weight"], channels = channels * conv.kernel**2, conv.channels
    height, width = _output_size(convolutions, shape)
    behind = 2 * len(convolutions) + 1
    widths = [channels * height * width, *hidden]
    return found | {f"{behind + 2 * place}.weight": width for place, width in enumerate(widths)}


def build(
    convolutions: list[Conv],
    hidden: list[int],
    shape: tuple[int, int, int],
    classes: int,
    front: list[torch.nn.Module] | None = None,
) -> torch.nn.Module:
    """A network of these convolutions and linear layers (`hidden` outputs each, then `classes`), with ReLUs between them.

    The modules of `front` come first, under the name `front`; those behind are named by numbers from 0.
    """
    nn = torch.nn
    layers: list[torch.nn.Module] = []
    channels = shape[0]
    for conv in convolutions:
        layers += [nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, padding=1), nn.ReLU()]
        channels = conv.channels
    height, width = _output_size(convolutions, shape)
    layers.append(nn.Flatten())
    features = channels * height * width
    for width_out in hidden:
        layers += [nn.Linear(features, width_out), nn.ReLU()]
        features = width_out
    model = nn.Sequential()
    for module in front or ():
        model.add_module("front", module)
    for number, module in enumerate([*layers, nn.Linear(features, classes)]):
        model.add_module(str(number), module)
    return model


def _output_size(convolutions: list[Conv], shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of the last convolution's output; below 1 if images of `shape` are too small."""
    height, width = shape[1:]
    for conv in convolutions:
        height, width = ((side + 2 - conv.kernel) // conv.stride + 1 for side in (height, width))
    return height, width
