"""A network in bfloat16 to search with, and the same network in full to believe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.attacks._active import logits
from sparrow.models._prunable import PRUNABLE


class Lowered(nn.Module):
    """Computes in bfloat16, but for its first layer: of a pixel that changes by eps, eight bits might show nothing.

    Logits are float32.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.full = model
        self._first = next((layer for layer in model.modules() if isinstance(layer, PRUNABLE)), None)

    def forward(self, images: Tensor) -> Tensor:
        device, contexts = images.device.type, []

        def enter(layer: nn.Module, arguments: tuple) -> None:
            contexts.append(torch.autocast(device, enabled=False))
            contexts[-1].__enter__()

        def leave(layer: nn.Module, arguments: tuple, output: Tensor) -> None:
            contexts.pop().__exit__(None, None, None)

        hooks = [self._first.register_forward_pre_hook(enter), self._first.register_forward_hook(leave)] if self._first else []
        try:
            with torch.autocast(device, torch.bfloat16):
                return self.full(images).float()
        finally:
            for hook in hooks:
                hook.remove()


def confirmed(model: nn.Module, images: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """Which of the images (n,) that `model` calls `wrong` its full network misclassifies, too."""
    if not isinstance(model, Lowered) or not bool(wrong.any()):
        return wrong
    sure = wrong.clone()
    sure[wrong] = logits(model.full, images[wrong]).argmax(dim=1) != labels[wrong]
    return sure
