"""Which tensors of a network are pruned."""

from __future__ import annotations

from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of all convolutions and linear layers by state dict name, in the network's order; no biases, no norms."""
    return {f"{name}.weight": module.weight for name, module in model.named_modules() if isinstance(module, PRUNABLE)}


def norm_parameters(model: nn.Module) -> list[Tensor]:
    """Scales and shifts of the batch norm layers."""
    return [parameter for norm in norm_layers(model) for parameter in norm.parameters()]


def norm_layers(model: nn.Module) -> list[nn.Module]:
    """The batch norm layers."""
    return [module for module in model.modules() if isinstance(module, NORMS)]
