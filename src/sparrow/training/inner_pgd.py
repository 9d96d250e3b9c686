"""Projected gradient ascent on the input, for objectives that train on what it finds.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, sec. 2.1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import direction, project
from sparrow.inference.fixed_weights import fixed_weights
from sparrow.settings import Threat
from sparrow.training import inner_replay


def maximise(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    images: Tensor,
    start: Tensor,
    threat: Threat,
    steps: int,
    step_size: float,
) -> Tensor:
    """Images (n, c, h, w) in [0, 1], within `threat` of `images`, found by ascending `loss(logits)` from `start`.

    The network is in eval mode meanwhile, so that batch norm statistics see training images only. The start is projected
    before the first gradient, which so is that of an image; released codes (TRADES, MART) first clip after the first step.
    """

    def climb() -> Tensor:
        adversarial = project(start, images, threat)
        with fixed_weights(model, images) as network:
            for _ in range(steps):
                adversarial.requires_grad_(True)
                (gradient,) = torch.autograd.grad(loss(network(adversarial)), adversarial)
                adversarial = project(adversarial.detach() + step_size * direction(gradient, threat), images, threat)
        return adversarial

    return inner_replay.solve(climb)
