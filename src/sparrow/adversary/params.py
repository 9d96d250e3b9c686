"""Settings that all attacks share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sparrow.settings import Evaluation, unique


class Attack(Evaluation):
    """Which images are attacked, and what is kept of it."""

    in_era: bool = True
    """Whether it counts for `era`, which is computed on the images that every attack that counts has attacked. One that attacks
    fewer, such as a search for distances, has its own columns and its security curve all the same."""
    keep_examples: bool = False
    """Keep adversarial examples as a file, the nearest of each image. Those that a cascade asks for are kept anyway."""


class InsideAttack(Attack):
    """Settings of attacks that search inside the perturbation set, and that a proof can therefore spare."""

    skip_verified: Annotated[list[str], AfterValidator(unique)] = Field([])
    """Labels of verifiers. An image that one of them has verified at this radius is not attacked and counts as robust, for no
    attack can break it. This saves attacks that cannot succeed; attacks and bounds then no longer check each other. The random
    numbers drawn for the other images depend on which are skipped: with a verifier that has a time limit, on the machine's
    speed, too."""
