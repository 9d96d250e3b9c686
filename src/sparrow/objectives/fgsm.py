"""FGSM adversarial training with a random start: one step of 1.25 eps from a random point, and a watch on its known failure.

Training on one-step examples can end in catastrophic overfitting: within an epoch the network learns to resist them and
nothing else. So after each epoch PGD attacks the validation images, and a drop of its accuracy by more than
`overfitting_drop` is reported in the log and in the learning curve.

The network is in eval mode while the step is taken; in the released code it is in train mode, where batch norm takes the
batch's own statistics for the gradient, and its running ones see the random starts as well as the examples.

Source: Wong, Rice and Kolter, "Fast is Better than Free: Revisiting Adversarial Training", ICLR 2020; defaults of its
released code (locuslab/fast_adversarial).

BibTeX:

@inproceedings{wong2020fast,
  author = {Wong, Eric and Rice, Leslie and Kolter, J. Zico},
  title = {Fast is Better than Free: Revisiting Adversarial Training},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import RobustParams


class Params(RobustParams):
    """The step, and the check for catastrophic overfitting."""

    perturbs: ClassVar[bool] = True
    step_factor: float = Field(1.25, gt=0)
    """Length of the step, in units of eps."""
    check_steps: int = Field(5, ge=1)
    """Steps of the PGD that checks for catastrophic overfitting."""
    overfitting_drop: float = Field(0.2, gt=0, le=1)
    """Report catastrophic overfitting if the accuracy under that PGD falls by more than this within an epoch."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: cross-entropy on `project(x + start + step * sign(gradient))`."""
    from sparrow.adversary.geometry import random_start
    from sparrow.training import inner_pgd
    from sparrow.training.loss import CheckedLoss

    functional = torch.nn.functional

    def perturb(
        model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int, step_size: float
    ) -> torch.Tensor:
        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(logits, labels, reduction="sum")

        return inner_pgd.maximise(model, attack_loss, images, random_start(images, threat), threat, steps, step_size)

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        adversarial = perturb(model, images, labels, 1, params.step_factor * threat.eps)
        return functional.cross_entropy(model(adversarial), labels)

    def check(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Which images (n,) stay correctly classified under PGD."""
        step_size = 2.5 * threat.eps / params.check_steps
        adversarial = perturb(model, images, labels, params.check_steps, step_size)
        with torch.no_grad():
            return model(adversarial).argmax(dim=1) == labels

    return CheckedLoss(loss, check, params.overfitting_drop)
