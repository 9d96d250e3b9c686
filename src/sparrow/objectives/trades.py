"""TRADES: cross-entropy on the images plus beta times the divergence that the worst perturbation causes.

The released code (yaodongyu/TRADES) differs in what no step's loss shows: it takes its first gradient at the start as it is,
not clipped to [0, 1] (about 0.001 outside, at black and white pixels); and it passes the clean images twice in train mode,
before the adversarial ones and after, so that a third of batch norm's running statistics comes from adversarial images there,
and half here. In l2 its attack is another one, with gradient steps of `2 eps / steps`.

Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019.

BibTeX:

@inproceedings{zhang2019theoretically,
  author = {Zhang, Hongyang and Yu, Yaodong and Jiao, Jiantao and Xing, Eric and El Ghaoui, Laurent and Jordan, Michael},
  title = {Theoretically Principled Trade-off between Robustness and Accuracy},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import PGDParams


class Params(PGDParams):
    """PGD on the divergence, from a point 0.001 * N(0, 1) away."""

    float32_only: ClassVar[str | None] = "it starts 0.001 away from each image, which bfloat16 does not tell apart"
    beta: float = Field(6.0, ge=0)
    """Weight of the divergence (1/lambda in the paper)."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `CE(f(x), y) + beta * max KL(f(x) || f(x'))`, the maximum approximated by PGD."""
    from sparrow.networks.modes import eval_mode
    from sparrow.training import inner_pgd

    functional = torch.nn.functional

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        with eval_mode(model), torch.no_grad():
            reference = functional.softmax(model(images), dim=1)

        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return functional.kl_div(functional.log_softmax(logits, dim=1), reference, reduction="sum")

        start = images + 0.001 * torch.randn_like(images)
        step_size = params.resolved_step_size(threat.eps)
        adversarial = inner_pgd.maximise(model, attack_loss, images, start, threat, params.steps, step_size)
        clean, perturbed = model(images), model(adversarial)
        divergence = functional.kl_div(
            functional.log_softmax(perturbed, dim=1), functional.softmax(clean, dim=1), reduction="batchmean"
        )
        return functional.cross_entropy(clean, labels) + params.beta * divergence

    return loss
