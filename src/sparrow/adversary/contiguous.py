"""A network whose input gradients lie in memory as the images do, for attacks that take that for granted."""

from __future__ import annotations

from torch import Tensor, nn


class Contiguous(nn.Module):
    """`model`, but the gradient of contiguous images (n, c, h, w) is contiguous, whatever layout the layers work in.

    A first layer in channels_last, or a `permute` in front of it, hands back a gradient in a layout of its own, and
    torchattacks 3.5.1 takes `view` of it in l_2. The numbers are the same.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            images.register_hook(Tensor.contiguous)
        return self.model(images)
