"""What all attacks have in common."""

from __future__ import annotations

from sparrow.settings import Evaluation


class Attack(Evaluation):
    """Which images are attacked, and what is kept of it."""

    in_era: bool = True
    """Whether it counts for `era`, which rests on the images that every attack that counts has looked at. One that looks at
    fewer, such as a search for distances, has its own columns and its security curve all the same."""
    keep_examples: bool = False
    """Keep adversarial examples as a file, the nearest of each image. Those that a cascade asks for are kept anyway."""
