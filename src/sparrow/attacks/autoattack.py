"""AutoAttack, standard version: APGD on cross-entropy, targeted APGD on DLR, targeted FAB, and Square, one after the other.

torchattacks' own `AutoAttack` gives APGD and FAB 10 iterations each; the standard has 100, and so have we.

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020.
"""

from __future__ import annotations

from pydantic import Field

from sparrow.lazy import torch
from sparrow.settings import Evaluation, Threat

NORMS = ("linf", "l2")


class Params(Evaluation):
    """The defaults are the standard's; anything else should be named as such."""

    steps: int = Field(100, ge=1)
    """Iterations of APGD and FAB."""
    queries: int = Field(5000, ge=1)
    """Queries of Square."""
    attack_seed: int = Field(0, ge=0)
    """Seed of all four attacks."""


def attack(model, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int) -> torch.Tensor:
    """Adversarial images (n, c, h, w). Needs at least 4 classes, for DLR's third-largest logit.

    Raises SparrowError for fewer.
    """
    import torchattacks

    from sparrow.errors import SparrowError

    if classes < 4:
        raise SparrowError(f"autoattack: the data set has {classes} classes; its targeted DLR loss needs at least 4")
    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    common = {"norm": norm, "eps": threat.eps, "seed": params.attack_seed, "n_restarts": 1}

    ensemble = torchattacks.MultiAttack(
        [
            torchattacks.APGD(model, loss="ce", steps=params.steps, **common),
            torchattacks.APGDT(model, n_classes=classes, steps=params.steps, **common),
            torchattacks.FAB(model, multi_targeted=True, n_classes=classes, steps=params.steps, **common),
            torchattacks.Square(model, n_queries=params.queries, **common),
        ]
    )
    return ensemble(images, labels)
