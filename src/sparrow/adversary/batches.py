"""Logits, losses and gradients of many images, in batches that suit the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from sparrow.inference.node_outputs import activation_bytes

SMALLEST_BATCH, LARGEST_BATCH = 64, 512
"""Fewest and most images of a batch on a CPU. Fewer than 64 were no faster, of CNN-large at 32 x 32 (Xeon: 42 ms for 64 images,
42 to 57 by 8 to 32); CNN-small at 8 x 8 takes 4.7 us for a gradient by 512, 4.1 by 1,024 (EPYC), for twice the memory."""
CACHED_BYTES = 2**24
"""Most bytes of activations of a larger batch. CNN-large at 32 x 32, 0.25 MiB an image, goes forward and backward with 1,109
images a second by 64, 773 by 512 (Xeon); in channels-first layout, 522 by 512."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (n, classes) and the places (n,) of these points among all that the search began with to a loss of each (n,)."""


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, classes) of `images`, computed in batches and without a graph."""
    return _joined([model(channels_last(batch)) for batch in images.split(batch_size(model, images))])


def losses_and_gradients(model: nn.Module, images: Tensor, loss: Loss, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, classes), losses (n,) and the losses' gradients with respect to the images (n, c, h, w)."""
    outputs, all_losses, gradients = [], [], []
    size = batch_size(model, images)
    for batch, where in zip(images.split(size), places.split(size), strict=True):
        with torch.enable_grad():
            batch = channels_last(batch).detach().requires_grad_(True)
            output = model(batch)
            losses = loss(output, where)
            (gradient,) = torch.autograd.grad(losses.sum(), batch)
        outputs.append(output.detach())
        all_losses.append(losses.detach())
        gradients.append(gradient.contiguous())
    return _joined(outputs), _joined(all_losses), _joined(gradients)


def batch_size(model: nn.Module, images: Tensor) -> int:
    """Images of a batch: on a CPU `rows_at_once`; on other devices all."""
    return rows_at_once(model) if images.device.type == "cpu" else max(1, len(images))


def rows_at_once(model: nn.Module) -> int:
    """How many images a search evaluates together that follows several ways from each image at once.

    The same on every device, for it decides which random numbers an image meets: the `search_batch` of a `SearchNetwork`, else
    the fewest.
    """
    batch = getattr(model, "search_batch", None)
    return batch if isinstance(batch, int) else SMALLEST_BATCH


def suitable_batch(model: nn.Module, images: Tensor) -> int:
    """How many images like the first of `images` (n, c, h, w) have activations of `CACHED_BYTES`, between the smallest and the
    largest batch; the smallest where the graph of `model` is not known."""
    if not isinstance(model, fx.GraphModule) or not len(images):
        return SMALLEST_BATCH
    return min(max(CACHED_BYTES // activation_bytes(model, images[:1]), SMALLEST_BATCH), LARGEST_BATCH)


def channels_last(images: Tensor) -> Tensor:
    """`images` (n, c, h, w) with the channels of a pixel next to each other in memory."""
    return images.contiguous(memory_format=torch.channels_last)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
