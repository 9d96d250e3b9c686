"""Dropout that bounds do not see."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """torch's own; where the network is traced, as auto_LiRPA does, its input.

    A bound is one of the network as it is used, without dropout, in certified training, too; and auto_LiRPA 0.3 bounds no
    network in train mode whose dropout has not been drawn before.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images if torch.jit.is_tracing() else super().forward(images)
