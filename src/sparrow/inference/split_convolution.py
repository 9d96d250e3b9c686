"""A convolution that computes part of the output channels at a time, on a CPU, where the output is small and the weights many.

In the last layers of VGG and ResNet on images of 32 x 32, oneDNN's kernels take many times as long as their arithmetic would,
unless the weights fit into the core's own cache: as if they read all of them for every short row of every image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMALL_OUTPUT = 4 * 4
"""Most pixels of an output that is computed in parts: with more, it is no faster."""
CACHED_BYTES = 5 * 2**18
"""Most bytes of the weights of one part. Forward and backward pass of 512 x 512 x 3 x 3 in bfloat16 for 64 images of 4 x 4, on
a Xeon whose cores have 2 MiB, beside another job: 66 ms whole, 16 ms in four parts, 20 ms in eight."""

Pair = tuple[int, int]


def conv2d(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair | str, dilation: Pair, groups: int
) -> Tensor:
    """Output of `torch.nn.functional.conv2d`; in its gradient, sums may have another order."""

    def whole_or_part(weight: Tensor, bias: Tensor | None) -> Tensor:
        # torch takes a word for the padding, or a number for each side; its overloads cannot say both at once.
        if isinstance(padding, str):
            return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)
        return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)

    parts = -(-weight.numel() * weight.element_size() // CACHED_BYTES)
    whole = parts <= 1 or groups != 1 or images.dim() != 4 or images.device.type != "cpu"
    if whole or images.shape[2:].numel() > SMALL_OUTPUT * stride[0] * stride[1]:
        return whole_or_part(weight, bias)
    size = -(-len(weight) // parts)
    weights = weight.split(size)
    biases = [None] * len(weights) if bias is None else bias.split(size)
    return torch.cat([whole_or_part(*part) for part in zip(weights, biases, strict=True)], dim=1)
