"""The layer that normalises images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalise(nn.Module):
    """(images - mean) / std for images (n, channels, height, width), channel by channel.

    Computed as a convolution, not as a difference and a quotient: auto_LiRPA 0.3 knows the norm of a perturbation in the
    first operation alone, and only if that is a convolution or a linear layer. Nor can it bound by CROWN what is computed with
    tensors outside the state dict, so that the two buffers are part of it.
    """

    scale: Tensor
    """1 / std as the weight of a convolution of 1 x 1 (channels, channels, 1, 1)."""
    bias: Tensor
    """-mean / std (channels,)."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        scale = 1 / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", scale.diag()[:, :, None, None].float())
        self.register_buffer("bias", (-torch.tensor(mean, dtype=torch.float64) * scale).float())

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.scale, self.bias)


def fixed_tensors(network: nn.Module) -> list[str]:
    """State dict names of the fixed tensors of all `Normalise` layers of `network`."""
    layers = (name for name, module in network.named_modules() if isinstance(module, Normalise))
    return [f"{name}.{tensor}" for name in layers for tensor in ("scale", "bias")]
