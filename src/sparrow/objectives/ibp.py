"""IBP training: a mixture of cross-entropy and of its worst case over the box that interval bound propagation gives.

With progress t from 0 to 1 along the ramp, eps grows from 0 to its target and kappa falls from `kappa_start` to
`kappa_end` in `kappa * CE(f(x), y) + (1 - kappa) * CE(z, y)`, z the worst logits within the bounds.

Source: Gowal et al., "Scalable Verified Training for Provably Robust Image Classification", ICCV 2019.

BibTeX:

@inproceedings{gowal2019scalable,
  author = {Gowal, Sven and Dvijotham, Krishnamurthy and Stanforth, Robert and Bunel, Rudy and Qin, Chongli and Uesato,
    Jonathan and Arandjelović, Relja and Mann, Timothy and Kohli, Pushmeet},
  title = {Scalable Verified Training for Provably Robust Image Classification},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2019},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import IBPInitialisation


class Params(IBPInitialisation):
    """The mixing schedule."""

    kappa_start: float = Field(1.0, ge=0, le=1)
    """Weight of the benign loss at the start of the ramp."""
    kappa_end: float = Field(0.5, ge=0, le=1)
    """Weight of the benign loss at its end."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `kappa * CE(f(x), y) + (1 - kappa) * CE(z, y)`, with eps and kappa as far as the ramp has come."""
    from sparrow.training.certified_loss import Bounds, mixture

    bounds = Bounds()

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        def lower_margins(ramped: Threat) -> torch.Tensor:
            return bounds.margins(model, images, labels, ramped, "IBP")

        kappa = params.kappa_start + progress * (params.kappa_end - params.kappa_start)
        return mixture(model, images, labels, threat, progress, kappa, lower_margins)

    return loss


def initialise(params: Params, model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights of `model` (on the CPU) anew, in place, if `params.initialisation` asks for it."""
    params.initialise(model, generator)
