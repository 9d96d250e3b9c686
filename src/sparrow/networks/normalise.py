"""The normalisation that many published networks expect, as a first layer of fixed numbers. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture
from sparrow.settings import Settings


class Normalisation(Settings):
    """By what the images, in [0, 1], are normalised; one number for all channels, or one for each."""

    mean: list[float] = Field(min_length=1)
    """What is subtracted."""
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """By what is divided then."""


class Normalised(Architecture):
    """What a network may do to its images first."""

    normalise: Normalisation | None = None
    """Normalise images inside the network, as `{mean: [...], std: [...]}`; attacks and bounds see images in [0, 1] all the
    same."""


def check(params: Normalised, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if there are neither one mean nor as many as channels, or so with the deviations."""
    for key, values in params.normalise or ():
        if len(values) not in (1, shape[0]):
            raise ValueError(f"normalise.{key} has {len(values)} numbers for images of {shape[0]} channels")


def front(params: Normalised, channels: int) -> list[torch.nn.Module]:
    """The layer that normalises, if there is to be one."""
    if params.normalise is None:
        return []
    from sparrow.networks.normalise_layer import Normalise

    return [Normalise(*(values * (channels // len(values)) for _, values in params.normalise))]
