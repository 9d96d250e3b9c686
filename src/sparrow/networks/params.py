"""What all architectures have in common, importable without torch."""

from __future__ import annotations

from typing import ClassVar

from sparrow.settings import Settings


class Architecture(Settings):
    """What an architecture declares about itself."""

    batch_norm: ClassVar[bool] = False
    """Whether its networks have batch norm: they then train on two images or more at a time."""
    graftable: ClassVar[bool] = True
    """Whether lines can take the place of its ReLUs (`grafting`): each of these is a module of its own, torch.nn.ReLU."""
