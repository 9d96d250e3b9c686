"""What all attacks have in common."""

from __future__ import annotations

from sparrow.settings import Evaluation


class Attack(Evaluation):
    """Which images are attacked, and what is kept of it."""

    keep_examples: bool = False
    """Keep adversarial examples as a file, the nearest of each image. Those that a cascade asks for are kept anyway."""
