"""AutoAttack, standard version: APGD on cross-entropy, targeted APGD on DLR, targeted FAB, and Square, one after the other.

torchattacks' own `AutoAttack` departs from the standard version of the authors' package in four ways, which are set right
here: it gives APGD and FAB 10 iterations instead of 100, rescales Square's schedule to the number of queries, aims at all
other classes instead of the nine likeliest, and in l2 steps all images of a batch as far as the first (so batches of one).

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020.
"""

from __future__ import annotations

from pydantic import Field

from sparrow.attacks._params import Attack
from sparrow.lazy import torch
from sparrow.settings import Threat

NORMS = ("linf", "l2")
CLASSES_NEEDED = 4  # For the third-largest logit in DLR.


class Params(Attack):
    """The defaults are the standard's; anything else should be named as such."""

    steps: int = Field(100, ge=1)
    """Iterations of APGD and FAB."""
    queries: int = Field(5000, ge=1)
    """Queries of Square."""
    attack_seed: int = Field(0, ge=0)
    """Seed of all four attacks."""


def attack(model, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int) -> torch.Tensor:
    """Adversarial images (n, c, h, w). Raises SparrowError for fewer than `CLASSES_NEEDED`."""
    import torchattacks

    from sparrow.errors import SparrowError

    if classes < CLASSES_NEEDED:
        raise SparrowError(f"autoattack: the data set has {classes} classes; its DLR loss needs at least {CLASSES_NEEDED}")
    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    common = {"norm": norm, "eps": threat.eps, "seed": params.attack_seed, "n_restarts": 1}

    ensemble = torchattacks.MultiAttack(
        [
            torchattacks.APGD(model, loss="ce", steps=params.steps, **common),
            torchattacks.APGDT(model, n_classes=min(classes, 10), steps=params.steps, **common),
            torchattacks.FAB(model, multi_targeted=True, n_classes=min(classes, 10), steps=params.steps, **common),
            torchattacks.Square(model, n_queries=params.queries, resc_schedule=False, **common),
        ]
    )
    size = len(images) if threat.norm == "linf" else 1
    return torch.cat([ensemble(x, y) for x, y in zip(images.split(size), labels.split(size), strict=True)])
