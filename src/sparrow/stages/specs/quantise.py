"""What rounding a network's weights reads."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from sparrow.data.augmentation import Augmentation
from sparrow.files.specs import Entry
from sparrow.settings import Radius, Settings, Threat, unique
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.training.additions import StabilityLoss
from sparrow.training.schedule import Schedule


class MixedPrecision(Settings):
    """How the bits of each layer are chosen: greedily, for the average certified radius of randomised smoothing.

    The more layers and candidates there are, the more often that radius is computed: with L layers and C candidates at most
    L * L * (C - 1) times, which each take `images` * (`n0` + `n`) forward passes.
    """

    average_bits: float = Field(gt=0)
    """Bits of a weight on average over the weights that are not zero, at most: 4 leaves an eighth of their 32-bit bytes."""
    candidates: Annotated[list[Annotated[int, Field(ge=2, le=16)]], Field(min_length=2), AfterValidator(unique)] = Field(
        [2, 3, 4, 6, 8]
    )
    """Numbers of bits that a layer may have, whose channels' steps are those of `bits`."""
    sigma: Radius = 0.25
    """Standard deviation of the noise in pixel units, before it is rounded to the grid of the images."""
    images: int = Field(100, ge=1)
    """Training images on which the radius is averaged: the same for every choice (all, if there are fewer)."""
    n0: int = Field(100, ge=1)
    """Draws that choose an image's class."""
    n: int = Field(1000, ge=1)
    """Draws that bound its probability."""
    alpha: float = Field(0.001, gt=0, lt=1)
    """Probability that the certificate of an image is wrong."""

    @model_validator(mode="after")
    def _budget_between_candidates(self) -> MixedPrecision:
        fewest, most = min(self.candidates), max(self.candidates)
        if not fewest <= self.average_bits < most:
            raise ValueError(
                f"average_bits is {self.average_bits:g}, and candidates go from {fewest} to {most}; valid: {fewest} or more, "
                f"below {most}"
            )
        return self

    @property
    def smoothing(self) -> dict[str, Any]:
        """The parameters of the verifier `smoothing`."""
        return self.model_dump(include={"sigma", "n0", "n", "alpha"})


class QuantiseSpec(CheckpointSpec):
    """A network and a number of bits; what it is trained on and for how long only where it trains under rounding."""

    stage: str
    """That of the variant, such as `finetuned+int8`."""
    bits: int | None = None
    """The same for all layers, unless `mixed_precision` chooses them."""
    mixed_precision: MixedPrecision | None = None
    objective: Entry | None = None
    schedule: Schedule | None = None
    augmentation: Augmentation | None = None
    threat: Threat | None = None
    """The threat that the objective trains against; none of a benign one."""
    nrs: StabilityLoss | None = None
