"""What a search keeps of the images that are still classified correctly, and forward passes in batches that suit the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

CHUNK = 64
"""Images of a batch on a CPU: with more, their activations no longer fit its caches. CNN-large's throughput on a server's core,
forward and backward: 1,109 images a second by 64, 773 by 512; in channels-first layout, 522 by 512."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (n, classes) and the images' places (n,) among all images to a loss of each image (n,)."""


@dataclass
class Survivors:
    """Tensors (n, ...) with one entry per image that has not been misclassified yet.

    Subclasses are dataclasses that declare further such tensors; `keep` removes images from all of them at once.
    """

    labels: Tensor
    """Labels (n,)."""
    places: Tensor = field(init=False)
    """Indices (n,) of the images among those that the search began with."""

    def __post_init__(self) -> None:
        self.places = torch.arange(len(self.labels), device=self.labels.device)

    def __len__(self) -> int:
        return len(self.places)

    def keep(self, which: Tensor) -> None:
        """Remove the images where `which` (n,) is False."""
        if not bool(which.all()):
            self.__dict__.update({name: tensor[which] for name, tensor in vars(self).items()})


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, classes) of `images`, computed in batches and without a graph."""
    return torch.cat([model(channels_last(chunk)) for chunk in images.split(batch_size(images))])


def losses_and_gradients(model: nn.Module, images: Tensor, loss: Loss, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, classes), losses (n,) and the losses' gradients with respect to the images (n, c, h, w)."""
    outputs, all_losses, gradients = [], [], []
    size = batch_size(images)
    for chunk, where in zip(images.split(size), places.split(size), strict=True):
        with torch.enable_grad():
            chunk = channels_last(chunk).detach().requires_grad_(True)
            output = model(chunk)
            losses = loss(output, where)
            (gradient,) = torch.autograd.grad(losses.sum(), chunk)
        outputs.append(output.detach())
        all_losses.append(losses.detach())
        gradients.append(gradient.contiguous())
    return torch.cat(outputs), torch.cat(all_losses), torch.cat(gradients)


def batch_size(images: Tensor) -> int:
    """Images of a batch: `CHUNK` on a CPU, all elsewhere."""
    return CHUNK if images.device.type == "cpu" else max(1, len(images))


def channels_last(images: Tensor) -> Tensor:
    """`images` (n, c, h, w) with the channels of a pixel next to each other in memory."""
    return images.contiguous(memory_format=torch.channels_last)
