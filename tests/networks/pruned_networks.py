"""Networks that have lost single weights at random, and so have units that cannot matter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.networks.prunable import prunable_weights


def pruned(model: nn.Module, ratio: float, seed: int = 0) -> nn.Module:
    """The network in eval mode with random masks, biases and batch norm statistics, and weights of a scale to match."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.eval().modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 2, generator=generator)
            if isinstance(getattr(module, "bias", None), nn.Parameter):
                module.bias.normal_(0, 0.3, generator=generator)
        for weight in prunable_weights(model).values():
            weight.normal_(0, (2 / (1 - ratio) / weight[0].numel()) ** 0.5, generator=generator)
            weight.mul_(torch.rand(weight.shape, generator=generator) >= ratio)
    return model


def small(ratio: float = 0.9, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A pruned chain of two convolutions, the second of which sees constants less at the border, and two linear layers; images
    (6, 1, 8, 8), and what it says of them (6,)."""
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 4, 2, padding=1), nn.ReLU()]
    model = pruned(nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 24), nn.ReLU(), nn.Linear(24, 4)), ratio, seed)
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)
