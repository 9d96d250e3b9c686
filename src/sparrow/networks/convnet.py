"""The plain convolutional networks of the certified-training literature: convolutions, then linear layers, no batch norm."""

from __future__ import annotations

from typing import NamedTuple

from sparrow.lazy_torch import torch


class Conv(NamedTuple):
    """Output channels, kernel size and stride of one convolution; padding is 1."""

    channels: int
    kernel: int
    stride: int


def check_size(convolutions: list[Conv], shape: tuple[int, int, int]) -> None:
    """Raise ValueError if images of `shape` shrink to nothing on the way."""
    height, width = _output_size(convolutions, shape)
    if min(height, width) < 1:
        raise ValueError(f"images of {shape[1]} x {shape[2]} pixels are too small for its {len(convolutions)} convolutions")


def build(
    convolutions: list[Conv],
    hidden: list[int],
    shape: tuple[int, int, int],
    classes: int,
    front: list[torch.nn.Module] | None = None,
) -> torch.nn.Module:
    """ReLU after every layer but the last; `front` comes before all, and is not counted in the layers' names."""
    nn = torch.nn
    layers, channels = [], shape[0]
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
    height, width = shape[1:]
    for conv in convolutions:
        height, width = ((side + 2 - conv.kernel) // conv.stride + 1 for side in (height, width))
    return height, width
