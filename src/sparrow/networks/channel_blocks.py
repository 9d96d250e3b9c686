"""Which removed filters can be cut out where layers take channels in blocks: grouped convolutions, and norms over channels.

A convolution in groups needs as many channels in each of its groups as in any other. A group or layer norm takes its statistics
over a block of channels, zeros of removed filters among them: only a whole block can go. What has to stay for that stays as
zeros, and the logits stay the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.networks.channel_graph import Place, is_depthwise


class Blocks(NamedTuple):
    """The blocks in which a layer takes its channels."""

    channels: int
    number: int
    """Blocks of `channels / number` consecutive channels."""
    whole: bool
    """Whether only whole blocks can go; otherwise, all have to lose equally many channels."""


class Stays(NamedTuple):
    """Removed filters that stay as zeros, and why."""

    filters: int
    layer: str
    kind: str
    """Of the layer for whose sake the first of them stay."""

    @property
    def words(self) -> str:
        """Both, as the end of a line."""
        stay = "1 removed filter stays" if self.filters == 1 else f"{self.filters} removed filters stay"
        return f"{stay} as zeros, for the channels of {self.layer} ({self.kind}) hang together"


def blocks_of(place: Place) -> Blocks | None:
    """The blocks in which a layer takes these channels; None where each can go by itself."""
    module = place.module
    if isinstance(module, nn.GroupNorm):
        return Blocks(module.num_channels, module.num_groups, True)
    if isinstance(module, nn.LayerNorm):
        # All that it is known to have are one block, on whichever of its axes they are.
        return Blocks(int(place.channels.max()) + 1, 1, True)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups > 1 and not is_depthwise(module):
        return Blocks(module.out_channels if place.own else module.in_channels, module.groups, False)
    return None


def cut_out(removed: Tensor, places: list[Place]) -> tuple[Tensor, Stays | None]:
    """Those of the `removed` filters (filters,) of a group that can be cut out, and what is to say of the others."""
    gone, because = removed.clone(), None
    blocked = [(place, blocks) for place in places if (blocks := blocks_of(place)) is not None]
    while True:
        before = gone.clone()
        for place, blocks in blocked:
            if _put_back(gone, place, blocks) and because is None:
                because = place
        if torch.equal(before, gone):
            break
    if because is None:
        return gone, None
    return gone, Stays(int((removed & ~gone).sum()), because.layer, type(because.module).__name__)


def _put_back(gone: Tensor, place: Place, blocks: Blocks) -> bool:
    """Make a layer's blocks fit by having the first filters of a block stay after all; whether any do."""
    lost = torch.zeros(blocks.channels, dtype=torch.bool)
    lost[place.channels] = gone[place.filters]
    lost = lost.view(blocks.number, -1)
    least = torch.where(lost.all(dim=1), lost.shape[1], 0) if blocks.whole else lost.sum(dim=1).amin().expand(blocks.number)
    # Of those that a block loses, counted from its end.
    surplus = lost & (lost.flip(1).cumsum(1).flip(1) > least[:, None])
    back = place.filters[surplus.flatten()[place.channels]]
    gone[back] = False
    return bool(surplus.any())
