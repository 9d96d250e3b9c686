"""PGD: projected gradient ascent on the cross-entropy from random starts.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, sec. 2.1.

BibTeX:

@inproceedings{madry2018towards,
  author = {Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and Vladu, Adrian},
  title = {Towards Deep Learning Models Resistant to Adversarial Attacks},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
}
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.adversary.params import InsideAttack
from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Radius, Threat


class Params(InsideAttack):
    """Length, number and size of the walks."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    steps: int = Field(20, ge=1)
    """Gradient steps."""
    restarts: int = Field(1, ge=1)
    """Random starts; an image is broken if one of them breaks it."""
    step_size: Radius | None = None
    """Length of one step in pixel units; 2.5 * eps / steps if null."""


def passes(params: Params, classes: int) -> tuple[float, float]:
    """Forward passes and gradients of an image: from each start a gradient a step, and a forward pass where it ends."""
    return params.restarts, params.restarts * params.steps


def attack(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Adversarial images (n, c, h, w); those of the last start where none succeeds."""
    import torchattacks

    from sparrow.adversary.contiguous import Contiguous
    from sparrow.adversary.search import live_network

    images = images.contiguous()
    step_size = params.step_size if params.step_size is not None else 2.5 * threat.eps / params.steps
    walk = torchattacks.PGD if threat.norm == "linf" else torchattacks.PGDL2
    pgd = walk(Contiguous(live_network(model, images)), eps=threat.eps, alpha=step_size, steps=params.steps, random_start=True)
    adversarial = images.clone()
    left = torch.arange(len(images), device=images.device)
    for _ in range(params.restarts):
        adversarial[left] = pgd(images[left], labels[left])
        with torch.no_grad():
            left = left[model(adversarial[left]).argmax(dim=1) == labels[left]]
        if not len(left):
            break
    return adversarial
