"""Settings that all attacks share."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from sparrow.settings import Evaluation, Norm, unique


class Attack(Evaluation):
    """What an attack declares about itself; which images are attacked, and what is kept of it."""

    norms: ClassVar[tuple[Norm, ...]]
    """Norms of the threats that it knows; a study whose threat has another is refused."""
    minimum_norm: ClassVar[bool] = False
    """Whether it searches for the nearest adversarial image, however far: it then counts with its distance, at any radius."""
    classes_needed: ClassVar[int] = 2
    """Fewest classes of a data set that it can attack."""
    transfers: ClassVar[bool] = False
    """Whether it searches nothing, but tries what other attacks have found against the dense network (see `TransferAttack`)."""
    blind: ClassVar[str | None] = None
    """Name of the part of it that takes no gradients, as its `search` reports it in `found_by`; None if there is none."""
    in_era: bool = True
    """Whether it counts for `era`, which is computed on the images that every attack that counts has attacked. One that attacks
    fewer, such as a search for distances, has its own columns and its security curve all the same."""
    keep_examples: bool = False
    """Keep adversarial examples as a file, the nearest of each image. Those that a cascade, a transfer attack or
    an analysis asks for are kept anyway."""


class InsideAttack(Attack):
    """Settings of attacks that search inside the perturbation set: they need not attack images that are verified."""

    skip_verified: Annotated[list[str], AfterValidator(unique)] = Field([])
    """Labels of verifiers. An image that one of them has verified at this radius is not attacked and counts as robust, for no
    attack can break it. This saves attacks that cannot succeed; attacks and bounds then no longer check each other. The random
    numbers drawn for the other images depend on which are skipped: with a verifier that has a time limit, on the machine's
    speed, too."""


class TransferAttack(Attack):
    """Settings of attacks that try what other attacks have found against the dense network; they define `transfer`."""

    transfers: ClassVar[bool] = True
    attacks: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Labels of the attacks whose adversarial images of the dense network are tried, which are kept for it; all others of the
    study if null. Of those that find distances any image, of others those at this radius."""
