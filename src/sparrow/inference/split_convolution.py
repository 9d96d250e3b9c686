"""Convolutions whose output is a few pixels and whose weights are many, on a CPU: a part of the output channels at a time.

In the last layers of VGG and ResNet on images of 32 x 32, oneDNN's kernels take many times as long as their arithmetic would,
unless the weights fit into the core's own cache: as if they went through all of them for every short row of every image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMALL = 4 * 4
"""Pixels of the output up to which it pays."""
CACHED_BYTES = 5 * 2**18
"""Weights of a part. 512 x 512 x 3 x 3 in bfloat16 and 64 images of 4 x 4, there and back, on a Xeon whose cores have 2 MiB,
beside another job: 66 ms whole, 16 ms in four parts, 20 ms in eight."""

Pair = tuple[int, int]


def conv2d(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair | str, dilation: Pair, groups: int
) -> Tensor:
    """`torch.nn.functional.conv2d`; of its gradient the order of the sums is another one."""
    geometry = stride, padding, dilation, groups
    parts = -(-weight.numel() * weight.element_size() // CACHED_BYTES)
    whole = parts <= 1 or groups != 1 or images.dim() != 4 or images.device.type != "cpu"
    if whole or images.shape[2:].numel() > SMALL * stride[0] * stride[1]:
        return functional.conv2d(images, weight, bias, *geometry)
    size = -(-len(weight) // parts)
    weights = weight.split(size)
    biases = [None] * len(weights) if bias is None else bias.split(size)
    return torch.cat([functional.conv2d(images, *part, *geometry) for part in zip(weights, biases, strict=True)], dim=1)
