"""SABR: IBP on a small box around an adversarial example instead of the whole perturbation set.

The box has the radius `subselection * eps`; its centre is found by PGD among the points whose box lies inside the
perturbation set. Everything is clipped to [0, 1]. With progress t from 0 to 1 along the ramp, eps grows from 0 to its target.

Near black and white, clipping narrows the box. Released codes attack within the whole set and clamp what they find to where the
box fits into the clipped set: alessandrodepalma/expressive-losses keeps its width (on a digits network so trained, at
eps 0.05 and 0.1, our loss is 1 to 3 % below that; on others, more), ADA-research/CTRAIN 0.6 narrows it to the share of the
clipped interval (ours is 1 to 2 % above). Batch norm normalises by the boxes' centres here, by the adversarial images there.

Source: Müller et al., "Certified Training: Small Boxes are All You Need", ICLR 2023; defaults as in ADA-research/CTRAIN.

BibTeX:

@inproceedings{mueller2023certified,
  author = {Müller, Mark Niklas and Eckert, Franziska and Fischer, Marc and Vechev, Martin},
  title = {Certified Training: Small Boxes are All You Need},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import IBPInitialisation


class Params(IBPInitialisation):
    """The box, and the search for its centre."""

    subselection: float = Field(0.4, gt=0, le=1)
    """Radius of the box over eps (lambda in the paper); 1 is IBP training."""
    steps: int = Field(8, ge=1)
    """Gradient steps of the search."""
    step_size: float = Field(0.5, gt=0)
    """Length of one step, in units of the search's radius."""

    @property
    def perturbs(self) -> bool:
        """A box that is the whole perturbation set has the image as its centre."""
        return self.subselection < 1


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: cross-entropy of the worst logits within the small box's bounds."""
    from sparrow.adversary.geometry import random_start
    from sparrow.training import inner_pgd
    from sparrow.training.certified_loss import Bounds, mixture

    bounds = Bounds()

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

        def lower_margins(ramped: Threat) -> torch.Tensor:
            box = Threat(norm=ramped.norm, eps=params.subselection * ramped.eps)
            centre = images
            if params.subselection < 1:
                room = Threat(norm=ramped.norm, eps=ramped.eps - box.eps)
                start = random_start(images, room)
                step_size = params.step_size * room.eps
                centre = inner_pgd.maximise(model, attack_loss, images, start, room, params.steps, step_size)
            return bounds.margins(model, centre, labels, box, "IBP")

        return mixture(model, images, labels, threat, progress, 0.0, lower_margins)

    return loss


def initialise(params: Params, model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights of `model` (on the CPU) anew, in place, if `params.initialisation` asks for it."""
    params.initialise(model, generator)
