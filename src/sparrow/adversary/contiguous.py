"""A network whose input gradients have the images' memory layout, for attacks that take that for granted."""

from __future__ import annotations

from torch import Tensor, nn


class Contiguous(nn.Module):
    """`model`, but the gradient with respect to contiguous images (n, c, h, w) is contiguous, whatever layout its layers use.

    The gradient of a first layer in channels_last, or of a `permute` in front of it, has another layout, and torchattacks 3.5.1
    calls `view` on it in l_2. The numbers are the same.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            images.register_hook(Tensor.contiguous)
        return self.model(images)
