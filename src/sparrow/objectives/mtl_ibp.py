"""MTL-IBP: a weighted sum of the IBP loss and of the loss on adversarial examples.

The loss is `alpha * CE(worst logits within IBP's bounds, y) + (1 - alpha) * CE(f(x'), y)`; with progress t from 0 to 1
along the ramp, eps grows from 0 to its target in both terms. Where the network has batch norm, both terms normalise by the
adversarial images' batch; running statistics see the batch as it is, and then those.

Source: De Palma et al., "Expressive Losses for Verified Robustness via Convex Combinations", ICLR 2024; order of the passes
as in its released code (alessandrodepalma/expressive-losses, train.py), defaults as in ADA-research/CTRAIN.

BibTeX:

@inproceedings{depalma2024expressive,
  author = {De Palma, Alessandro and Bunel, Rudy and Dvijotham, Krishnamurthy and Kumar, M. Pawan and Stanforth, Robert and
    Lomuscio, Alessio},
  title = {Expressive Losses for Verified Robustness via Convex Combinations},
  booktitle = {International Conference on Learning Representations},
  year = {2024},
}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import IBPInitialisation


class Params(IBPInitialisation):
    """The mixture, and the attack of its second term."""

    perturbs: ClassVar[bool] = True
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the IBP loss; the smaller eps is, the smaller the best weight."""
    steps: int = Field(1, ge=1)
    """Gradient steps of the attack, from a random start."""
    step_size: float = Field(10.0, gt=0)
    """Length of one step, in units of eps; far beyond 1, every step ends in a corner."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `alpha * CE(worst logits, y) + (1 - alpha) * CE(f(x'), y)`, with eps as far as the ramp has come."""
    from sparrow.adversary.geometry import random_start
    from sparrow.training import inner_pgd
    from sparrow.training.certified_loss import Bounds, observe, worst_case

    bounds = Bounds()
    functional = torch.nn.functional

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        if progress == 0:
            return functional.cross_entropy(model(images), labels)
        ramped = Threat(norm=threat.norm, eps=progress * threat.eps)

        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(logits, labels, reduction="sum")

        observe(model, images)
        start, step_size = random_start(images, ramped), params.step_size * ramped.eps
        adversarial = inner_pgd.maximise(model, attack_loss, images, start, ramped, params.steps, step_size)
        # Bounds first: making their view of the network writes its weights in place.
        verified = worst_case(bounds.margins(model, images, labels, ramped, "IBP", normalised_by=adversarial))
        return params.alpha * verified + (1 - params.alpha) * functional.cross_entropy(model(adversarial), labels)

    return loss


def initialise(params: Params, model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights of `model` (on the CPU) anew, in place, if `params.initialisation` asks for it."""
    params.initialise(model, generator)
