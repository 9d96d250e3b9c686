"""CROWN-IBP training: tight CROWN bounds while eps is small, cheap IBP bounds as training gets there.

With progress t from 0 to 1 along the ramp, eps grows from 0 to its target, beta falls from `beta_start` to `beta_end` in
the bound `beta * CROWN-IBP + (1 - beta) * IBP`, and kappa from `kappa_start` to `kappa_end` in
`kappa * CE(f(x), y) + (1 - kappa) * CE(-bound, y)`.

Source: Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR 2020;
defaults of its released code (huanzhang12/CROWN-IBP, defaults.json).

BibTeX:

@inproceedings{zhang2020towards,
  author = {Zhang, Huan and Chen, Hongge and Xiao, Chaowei and Gowal, Sven and Stanforth, Robert and Li, Bo and Boning,
    Duane and Hsieh, Cho-Jui},
  title = {Towards Stable and Efficient Training of Verifiably Robust Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import IBPInitialisation


class Params(IBPInitialisation):
    """The mixing schedules."""

    kappa_start: float = Field(1.0, ge=0, le=1)
    """Weight of the benign loss at the start of the ramp."""
    kappa_end: float = Field(0.5, ge=0, le=1)
    """Weight of the benign loss at its end."""
    beta_start: float = Field(1.0, ge=0, le=1)
    """Weight of the CROWN-IBP bound against the IBP bound at the start of the ramp."""
    beta_end: float = Field(0.0, ge=0, le=1)
    """Weight of the CROWN-IBP bound at its end; at 0 it is no longer computed."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `kappa * CE(f(x), y) + (1 - kappa) * CE(-bound, y)`, with eps, beta and kappa as far as the ramp has come."""
    from sparrow.training.certified_loss import Bounds, mixture

    bounds = Bounds()

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        beta = params.beta_start + progress * (params.beta_end - params.beta_start)

        def lower_margins(ramped: Threat) -> torch.Tensor:
            return bounds.mixed(model, images, labels, ramped, beta)

        kappa = params.kappa_start + progress * (params.kappa_end - params.kappa_start)
        return mixture(model, images, labels, threat, progress, kappa, lower_margins)

    return loss


def initialise(params: Params, model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights of `model` (on the CPU) anew, in place, if `params.initialisation` asks for it."""
    params.initialise(model, generator)
