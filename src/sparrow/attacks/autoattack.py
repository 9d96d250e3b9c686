"""AutoAttack, standard version: APGD on cross-entropy, targeted APGD on DLR, targeted FAB, and Square, one after the other.

Each attack meets the images that are left, and an image leaves as soon as it is broken: torchattacks' parts go on with
broken images to the end, and in l_2 step all images of a batch as far as the first. The parts here are written after the
papers and the authors' package (fra31/auto-attack), with which they share all settings; what differs is said in `_apgd`,
`_fab` and `_square`, and that random numbers are drawn on the CPU, so that they are the same on every device.

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparrow.attacks._params import InsideAttack
from sparrow.lazy import torch
from sparrow.settings import Threat

NORMS = ("linf", "l2")
CLASSES_NEEDED = 4  # For the third-largest logit in DLR.
TARGETS = 9


class Params(InsideAttack):
    """The defaults are the standard's; anything else should be named as such."""

    steps: int = Field(100, ge=1)
    """Iterations of APGD and FAB."""
    queries: int = Field(5000, ge=1)
    """Queries of Square."""
    attack_seed: int = Field(0, ge=0)
    """Seed of all four attacks."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: the search looks at the network in it (autocast), and what it finds counts only if it fools the network in
    float32. Faster, and not the standard version: it may miss what that would find, the more so the smaller eps is."""


def passes(params: Params, classes: int) -> tuple[float, float]:
    """An image that survives all four: APGD, and targeted APGD and FAB (which looks twice a step) at nine classes; Square."""
    targets = min(TARGETS, classes - 1)
    return params.steps * targets + params.queries, params.steps * (1 + 2 * targets)


def attack(model, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int) -> torch.Tensor:
    """Adversarial images (n, c, h, w). Raises SparrowError for fewer than `CLASSES_NEEDED`."""
    from sparrow.attacks._active import logits
    from sparrow.attacks._apgd import apgd, cross_entropy, targeted_dlr
    from sparrow.attacks._fab import fab
    from sparrow.attacks._search import searching
    from sparrow.attacks._square import square
    from sparrow.errors import SparrowError

    if classes < CLASSES_NEEDED:
        raise SparrowError(f"autoattack: the data set has {classes} classes; its DLR loss needs at least {CLASSES_NEEDED}")
    found = images.clone()
    clean = logits(model, images)
    left = (clean.argmax(dim=1) == labels).nonzero().squeeze(1)
    ranks = range(1, min(TARGETS, classes - 1) + 1)
    likeliest = clean.argsort(dim=1, descending=True)

    def run(one) -> None:
        nonlocal left
        if len(left):
            broken, results = one(images[left], labels[left], likeliest[left])
            found[left[broken]] = results[broken]
            left = left[~broken]

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(params.attack_seed)

    with searching(model, images, params.precision) as search:
        generator = seeded()
        run(lambda x, y, order: apgd(search, x, y, cross_entropy(y), threat, params.steps, generator))
        generator = seeded()
        for rank in ranks:
            run(
                lambda x, y, order, rank=rank: apgd(
                    search, x, y, targeted_dlr(y, order[:, rank]), threat, params.steps, generator
                )
            )
        for rank in ranks:
            run(lambda x, y, order, rank=rank: fab(search, x, y, order[:, rank], threat, params.steps))
        generator = seeded()
        run(lambda x, y, order: square(search, x, y, threat, params.queries, generator))
    return found
