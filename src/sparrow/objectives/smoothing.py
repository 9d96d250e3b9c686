"""Training for randomised smoothing: cross-entropy plus the divergence that Gaussian noise causes (the stability term).

Certify such networks with the verifier `smoothing` at the same `sigma`.

Source: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019; stability
term: Carmon et al., "Unlabeled Data Improves Adversarial Robustness", NeurIPS 2019; defaults of HYDRA's released code
(inspire-group/hydra, trainer/smooth.py).

BibTeX:

@inproceedings{cohen2019certified,
  author = {Cohen, Jeremy and Rosenfeld, Elan and Kolter, J. Zico},
  title = {Certified Adversarial Robustness via Randomized Smoothing},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}

@inproceedings{carmon2019unlabeled,
  author = {Carmon, Yair and Raghunathan, Aditi and Schmidt, Ludwig and Duchi, John C. and Liang, Percy},
  title = {Unlabeled Data Improves Adversarial Robustness},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Radius, Threat
from sparrow.training.objective_params import Objective


class Params(Objective):
    """The noise, and the weight of the stability term."""

    sigma: Radius = 0.25
    """Standard deviation of the noise in pixel units."""
    beta: float = Field(6.0, ge=0)
    """Weight of the divergence."""


def prepare(params: Params, threat: Threat | None) -> Callable:
    """The loss: `CE(f(x), y) + beta * KL(f(x) || f(x + sigma * N(0, 1)))`."""
    functional = torch.nn.functional

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        clean, noisy = model(images), model(images + params.sigma * torch.randn_like(images))
        divergence = functional.kl_div(
            functional.log_softmax(noisy, dim=1), functional.softmax(clean, dim=1), reduction="batchmean"
        )
        return functional.cross_entropy(clean, labels) + params.beta * divergence

    return loss
