"""Train and eval mode, restored layer by layer: batch norms that a method has frozen are in eval mode while the rest trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """At the end of the context, put each layer back into the mode (train or eval) that it had at the start."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """While the context is active, the whole network is in eval mode; then each layer has its own mode again."""
    with modes_restored(model):
        model.eval()
        yield
