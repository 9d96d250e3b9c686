"""A check that all logits are finite: with finite weights they may still overflow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError


def require_numbers(model: nn.Module, images: Tensor, batch_size: int) -> None:
    """Raise NetworkError, naming the first layer whose output is not finite, if a logit of `images` is infinite or NaN."""
    faulty: list[str] = []

    def watch(name: str, output: Tensor) -> None:
        if not output.isfinite().all():
            faulty.append(name)

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    hooks = [
        module.register_forward_hook(lambda layer, given, output, name=name: watch(name, output)) for name, module in leaves
    ]
    try:
        with torch.no_grad():
            finite = all(bool(model(batch).isfinite().all()) for batch in images.split(batch_size))
    finally:
        for hook in hooks:
            hook.remove()
    if not finite:
        at = f": layer {faulty[0]} is the first to overflow" if faulty else ""
        raise NetworkError(f"its logits are not finite{at}")
