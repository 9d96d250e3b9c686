"""The tensors of a network that can be pruned, and its norms."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CHANNEL_NORMS = (*NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
"""Batch norms, and all others that may have a scale and a shift for each channel."""
PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of all convolutions and linear layers by state dict name, in the network's order; no biases, no norms."""
    layers = ((name, module) for name, module in model.named_modules() if isinstance(module, PRUNABLE))
    return {f"{name}.weight": cast(nn.Parameter, layer.weight) for name, layer in layers}


def norm_parameters(model: nn.Module) -> list[Tensor]:
    """Scales and shifts of all batch norm layers, in the network's order."""
    return [parameter for norm in norm_layers(model) for parameter in norm.parameters()]


def norm_layers(model: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    """All batch norm layers, in the network's order."""
    return [module for module in model.modules() if isinstance(module, NORMS)]
