"""Adversarial training: cross-entropy on the worst images that PGD finds.

The network is in eval mode while PGD runs, and the random start is clipped to [0, 1] before the first gradient.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, eq. 2.1.

BibTeX:

@inproceedings{madry2018towards,
  author = {Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and Vladu, Adrian},
  title = {Towards Deep Learning Models Resistant to Adversarial Attacks},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
}
"""

from __future__ import annotations

from collections.abc import Callable

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import PGDParams


class Params(PGDParams):
    """PGD with a random start."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `max over the perturbation set of CE(f(x'), y)`, the maximum approximated by PGD."""
    from sparrow.adversary.geometry import random_start
    from sparrow.training import inner_pgd

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

        start = random_start(images, threat)
        step_size = params.resolved_step_size(threat.eps)
        adversarial = inner_pgd.maximise(model, attack_loss, images, start, threat, params.steps, step_size)
        return torch.nn.functional.cross_entropy(model(adversarial), labels)

    return loss
