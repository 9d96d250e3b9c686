"""What an objective is to the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class Loss(Protocol):
    """A function from a network, images (n, c, h, w) in [0, 1], labels (n,) and how far the ramp has come to a scalar."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor: ...


@dataclass(frozen=True)
class CheckedLoss:
    """A loss, and a check that the network has to pass after each epoch."""

    loss: Loss
    check: Callable[[nn.Module, Tensor, Tensor], Tensor]
    """From the network in eval mode, images (n, c, h, w) and labels (n,) to which images pass: bool (n,). Called with the
    validation images; the share that passes is the learning curve's column `validation_check`."""
    allowed_drop: float
    """By how much that share, in [0, 1], may fall from one epoch to the next without a warning of catastrophic overfitting."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        return self.loss(model, images, labels, progress)
