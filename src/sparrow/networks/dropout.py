"""Dropout that is left out where a network is traced for bounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """As torch's own, but the identity while the network is traced, as auto_LiRPA does.

    Bounds are those of the network without dropout, in certified training, too; and auto_LiRPA 0.3 cannot bound a network in
    train mode whose dropout has not been drawn before.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images if torch.jit.is_tracing() else super().forward(images)
