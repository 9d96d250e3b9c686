"""The layer that normalises images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalise(nn.Module):
    """Images (n, channels, height, width) minus `mean` by `std`, channel by channel; no tensor of it is part of a state dict.

    It computes by a convolution, and not by a difference and a quotient: auto_LiRPA 0.3 knows the norm of a perturbation in the
    first operation alone, and only if that is a convolution or a linear layer.
    """

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        scale = 1 / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", scale.diag()[:, :, None, None].float(), persistent=False)
        self.register_buffer("bias", (-torch.tensor(mean, dtype=torch.float64) * scale).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.scale, self.bias)
