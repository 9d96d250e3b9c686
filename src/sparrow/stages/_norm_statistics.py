"""Running statistics of batch norm for a network whose weights have changed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from sparrow.data.augmentation import NONE
from sparrow.data.store import Part
from sparrow.errors import NetworkError
from sparrow.networks.modes import eval_mode
from sparrow.networks.prunable import norm_layers
from sparrow.training.schedule import batches

BATCH = 256
"""Images that go through the network together; their number has a share in the statistics, so that it is nobody's choice."""


def recompute(model: nn.Module, part: Part) -> None:
    """Take the running statistics of all batch norms of `model` anew, in place, from the images of `part` as they are.

    They are the average over the batches, each with the weight of one, of means and unbiased variances, as PyTorch's
    `momentum=None` and `torch.optim.swa_utils.update_bn` have it. Every batch is normalised by its own statistics on the way,
    as in training; all other layers are in eval mode. No effect on a network without batch norm. Raises NetworkError if there
    is only one image.
    """
    norms = [norm for norm in norm_layers(model) if norm.track_running_stats]
    if not norms:
        return
    if len(part) < 2:
        raise NetworkError("norm_statistics: recompute: batch norm has no statistics of one training image; valid: kept")
    images = replace(part, augmentation=NONE)
    momenta = [norm.momentum for norm in norms]
    try:
        with eval_mode(model), torch.no_grad():
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            start = 0
            for size in batches(len(part), BATCH, normalised=True):
                model(images.drawn(torch.arange(start, start + size, device=part.labels.device)))
                start += size
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
