"""Settings of methods that exchange weights while they train, importable without torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparrow.pruning.params import Criterion, FromScratch


class Exchanging(FromScratch):
    """A method that exchanges, every few epochs, the smallest weights of each layer for dormant ones."""

    iterative: ClassVar[bool] = True
    exchanged: float = Field(0.5, gt=0, le=1)
    """Share of a layer's weights that goes at first."""
    exchanged_end: float = Field(0.005, ge=0, le=1)
    """The same at the end of the schedule; a cosine lies between."""
    every: float = Field(1.0, gt=0)
    """Epochs between two exchanges."""

    def too_short(self, total: int, per_epoch: int) -> str | None:
        """There has to be an exchange, and as long an interval behind it."""
        if 2 * max(1, round(self.every * per_epoch)) <= total:
            return None
        epochs = total // per_epoch
        return f"every: {self.every:g} epochs leave no exchange in a schedule of {epochs}; valid: at most {epochs / 2:g}"


class ExchangingLayerwise(Exchanging):
    """A method whose layers get back as many weights as they gave away."""

    criterion: ClassVar[Criterion] = "LWM"
    growth: Literal["random", "gradient"] = "random"
    """Which dormant weights come: any of the layer's (`random`, the default of the released code), or those with the largest
    gradient in the last batch (`gradient`)."""
    every: float = Field(2.56, gt=0)
    """Epochs between two exchanges in the first half of the schedule; 900 of the paper's steps, 352 of which are an epoch."""
    every_late: float = Field(3.41, gt=0)
    """The same in its second half; 1200 of the paper's steps."""
