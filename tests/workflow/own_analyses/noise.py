"""Noise: how many images a network still names rightly after random noise as large as the threat.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Analysis, Columns, Need, Scope

if TYPE_CHECKING:
    import pandas as pd

    from sparrow.inference.subjects import OneNetwork


class Params(Analysis):
    """How many images."""

    scope: ClassVar[Scope] = "network"
    needs: ClassVar[tuple[Need, ...]] = ("threat",)
    tables: ClassVar[Columns] = {"noise": ("draw", "right", "images")}

    samples: int = Field(20, ge=1)
    """On this many."""


def passes(params: Params, classes: int) -> tuple[int, int]:
    """Forward passes and gradients for each image."""
    return 2, 0


def analyse(subject: OneNetwork, params: Params) -> list[tuple[int, int, int]]:
    """A row for each of two draws."""
    from sparrow.networks.batched import predict

    part = subject.data.part("test", params.samples)
    model, rows = subject.network.load(part.images, 512), []
    for draw in range(2):
        noise = subject.threat.eps * torch.randn(part.images.shape, generator=subject.generator)
        found = predict(model, part.images + noise.to(part.images), 512)
        rows.append((draw, int((found == part.labels).sum()), len(part)))
    return rows


def summary(table: pd.DataFrame) -> dict[str, float]:
    """The share."""
    return {"accuracy": table["right"].sum() / table["images"].sum()}
