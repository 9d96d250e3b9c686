"""FGSM without a random start, for methods whose own loss is of such images.

Source: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, sec. 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import direction, project
from sparrow.networks.modes import eval_mode
from sparrow.settings import Threat


def fgsm(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """Images (n, c, h, w) in [0, 1], one step of full length up the cross-entropy; the network is in eval mode meanwhile."""
    images = images.detach().clone().requires_grad_()
    with eval_mode(model):
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(images), labels, reduction="sum"), images)
    return project(images.detach() + threat.eps * direction(gradient, threat), images.detach(), threat)
