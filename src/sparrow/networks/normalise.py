"""The normalisation that many published networks expect, as a first layer of fixed numbers. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture
from sparrow.settings import Settings


class Normalisation(Settings):
    """Mean and deviation by which images in [0, 1] are normalised; one number for all channels, or one for each."""

    mean: list[float] = Field(min_length=1)
    """Subtracted from each channel."""
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Divides each channel after that."""


class Normalised(Architecture):
    """Settings of a network that may normalise its images."""

    normalise: Normalisation | None = None
    """Normalise images inside the network, as `{mean: [...], std: [...]}`; attacks and bounds see images in [0, 1] all the
    same."""


def check(params: Normalised, shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless there is one mean, or one for each channel of `shape`, and the same with the deviations."""
    for key, values in params.normalise or ():
        if len(values) not in (1, shape[0]):
            raise ValueError(f"normalise.{key} has {len(values)} numbers for images of {shape[0]} channels")


def front(params: Normalised, channels: int) -> list[torch.nn.Module]:
    """The layer that normalises, in a list; an empty list without `params.normalise`."""
    if params.normalise is None:
        return []
    from sparrow.networks.normalise_layer import Normalise

    return [Normalise(*(values * (channels // len(values)) for _, values in params.normalise))]
