"""What all architectures have in common, importable without torch."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from sparrow.settings import Settings


class Narrowest(NamedTuple):
    """A layer of a network, and how many filters it has."""

    layer: str
    """State dict name of its weights."""
    filters: int


class Architecture(Settings):
    """What an architecture declares about itself."""

    batch_norm: ClassVar[bool] = False
    """Whether its networks have batch norm: they then train on two images or more at a time."""
    graftable: ClassVar[bool] = True
    """Whether lines can take the place of its ReLUs (`grafting`): each of these is a module of its own, torch.nn.ReLU."""

    @property
    def narrowest(self) -> Narrowest | None:
        """The layer with the fewest of the filters that can be removed, and how many it has. None, if that is not known before
        a network is built: a ratio that takes them all is then refused when pruning begins, and not before any job.

        `narrowest: ClassVar[Narrowest] = ("conv1.weight", 64)`, where that does not depend on the parameters.
        """
        return None

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """How many inputs each output of a layer has on images of `shape` (channels, height, width), by the state dict name of
        its weights; of those layers of which it is known before a network is built, such as the first.

        An N:M pattern that does not fit them is then refused before any job, and in others when pruning begins.
        """
        return {}
