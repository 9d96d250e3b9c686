"""Votes: on how many images the networks of all seeds agree, and on how many of these with all their dense networks.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.lazy_torch import torch
from sparrow.settings import Analysis, Columns, Scope

if TYPE_CHECKING:
    from sparrow.inference.subjects import Network, Seeds


class Params(Analysis):
    """It has none."""

    scope: ClassVar[Scope] = "seeds"
    tables: ClassVar[Columns] = {"votes": ("seeds", "agreed", "with_dense")}


def analyse(subject: Seeds, params: Params) -> list[tuple[int, int, int]]:
    """One row."""
    from sparrow.networks.batched import predict

    images = subject.data.part("test", 40).images

    def votes(networks: tuple[Network, ...]) -> torch.Tensor:
        return torch.stack([predict(network.load(images, 40), images, 40) for network in networks])

    own, dense = votes(subject.networks), votes(subject.dense)
    agreed = (own == own[0]).all(dim=0)
    return [(len(own), int(agreed.sum()), int((agreed & (dense == own[0]).all(dim=0)).sum()))]
