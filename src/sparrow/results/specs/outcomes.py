"""Which outcome tables networks have."""

from __future__ import annotations

from pydantic import Field

from sparrow.files.specs import PlainValues
from sparrow.settings import Threat


class OutcomeTables(PlainValues):
    """Names of the outcome tables of an objective's networks, of which sort each is, and the threat."""

    attacks: list[str]
    not_in_era: list[str]
    """Attacks that do not count for the era."""
    minimum_norm: list[str]
    """Attacks that seek the nearest adversarial image."""
    transferred: list[str] = Field(default_factory=list)
    """Attacks that search nothing, but try what others have found against the dense network."""
    verifiers: list[str]
    smoothed: list[str]
    """Verifiers of a smoothed classifier."""
    threat: Threat
