"""Train and eval mode, layer by layer: batch norms that a method has frozen are in eval mode while the rest trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give each layer its own mode back at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The whole network in eval mode, for a while."""
    with modes_kept(model):
        model.eval()
        yield
