"""Adversarial images of networks, tried on another one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.data.store import Part
from sparrow.inference.subjects import Network
from sparrow.networks.batched import batches, predict


def answers(network: Network, others: Sequence[Network], part: Part, batch_size: int) -> tuple[Tensor, Tensor]:
    """Which images of a part (n,) a network gets right, and of which (m, n) it is wrong on an adversarial image that one of
    the m `others` has; on the CPU.

    Raises as `Network.load` and `Network.examples` do.
    """
    model = network.load(part.images, batch_size)
    fooled = torch.zeros(len(others), len(part), dtype=torch.bool, device=part.images.device)
    for other, wrong in zip(others, fooled, strict=True):
        for there, images in other.examples(part):
            for batch in batches(there, batch_size):
                wrong[batch] |= predict(model, images[batch], batch_size) != part.labels[batch]
    return (predict(model, part.images, batch_size) == part.labels).cpu(), fooled.cpu()
