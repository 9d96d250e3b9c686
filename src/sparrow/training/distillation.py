"""Adversarially robust distillation (ARD): a network learns to give perturbed images what its teacher gives the clean ones.

The loss of a batch is `alpha T^2 KL(softmax(teacher(x) / T) || softmax(student(x') / T)) + (1 - alpha) CE(student(x), y)`, T
the temperature. The images x' are those that the objective's own loss finds by its inner maximisation. Of an objective that
trains against a radius without one (interval bounds), they are found by ten steps of PGD on the student's cross-entropy, from
a uniform random start and at the whole radius, wherever its ramp has come. Of an objective without a radius, such as `benign`,
and of one that perturbs images before its ramp begins, x' = x, which is plain distillation (of `smoothing`, without its noise).

As in the released code, but for this. The divergence is summed over classes and averaged over images; torch's `KLDivLoss`
averages over classes, too, so that the paper's alpha means alpha / classes beside the cross-entropy (at the default alpha of 1
they differ in the learning rate alone). Images are perturbed with the network in eval mode, and batch norm's running statistics
see x', and x if alpha is below 1; there they see every step of the attack. The learning rate is the study's: the second of the
released schedule's two decays multiplies the initial rate again, and changes nothing. Ours is that a pruned network learns from
the dense one, whose weights it may have begun with: in the paper, another architecture learns from scratch.

At a high temperature, the divergence is about half the variance of the difference between both networks' logits, so that its
gradient grows with the logits, and training may fail at a learning rate that is right for cross-entropy. On digits (CNN-small,
90 %, `adversarial`, cosine from 0.1), a network that HYDRA had pruned fell from 82 % to 31 % era while it was fine-tuned. From
0.01, which is the paper's 0.1 with its mean over ten classes, it came to 85 %, and so it did from 0.1 with `max_grad_norm: 1`.
A network that random pruning had left at chance stayed there from 0.01.

Source: Goldblum et al., "Adversarially Robust Distillation", AAAI 2020; released code
(goldblum/AdversariallyRobustDistillation, main.py).

BibTeX:

@inproceedings{goldblum2020adversarially,
  author = {Goldblum, Micah and Fowl, Liam and Feizi, Soheil and Goldstein, Tom},
  title = {Adversarially Robust Distillation},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.adversary.geometry import random_start
from sparrow.errors import SparrowError
from sparrow.networks.modes import eval_mode
from sparrow.settings import Threat
from sparrow.training import inner_pgd, inner_replay
from sparrow.training.additions import Distillation

if TYPE_CHECKING:
    from sparrow.training.relu_stability import Penalty


class Distilled:
    """The loss of a `student` that learns from a `teacher`, in the place of an objective's."""

    def __init__(
        self,
        params: Distillation,
        student: nn.Module,
        teacher: nn.Module,
        threat: Threat | None,
        perturbs: bool,
        penalty: Penalty | None = None,
    ) -> None:
        """`threat` is what the objective trains against, `perturbs` whether its loss is of images that it perturbs itself;
        a `penalty` is added to the loss. The teacher is put into eval mode."""
        self._params, self._student, self._teacher = params, student, teacher.eval()
        self._threat, self._perturbs, self._penalty = threat, perturbs, penalty

    def __call__(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of images (n, c, h, w) with labels (n,); `objective()` is the objective's own.

        Raises SparrowError if the objective perturbs other images than these.
        """
        own = partial(self._own, objective, images, labels)
        return self._penalty.on_top(self._student, images, own) if self._penalty else own()

    def _own(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        moved = self._perturbed(objective, images, labels)
        logits = self._student(moved)
        with torch.no_grad():
            target = self._teacher(images).to(logits.dtype)
        alpha, temperature = self._params.alpha, self._params.temperature
        loss = alpha * temperature**2 * divergence(target / temperature, logits / temperature)
        if alpha < 1:
            loss = loss + (1 - alpha) * functional.cross_entropy(self._student(images), labels)
        return loss

    def _perturbed(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        if self._threat is None:
            return images
        if self._perturbs:
            with eval_mode(self._student):  # So that the loss around the search leaves batch norm's statistics alone.
                objective()
            found = inner_replay.found()
            if found and found[-1].shape != images.shape:
                raise SparrowError(
                    f"training.finetune.distillation: the objective perturbs images {tuple(found[-1].shape)} of a batch "
                    f"{tuple(images.shape)}; valid: null, or an objective that perturbs each"
                )
            return found[-1] if found else images

        def attack_loss(logits: Tensor) -> Tensor:
            return functional.cross_entropy(logits, labels, reduction="sum")

        # Of 2/255 at 8/255, as released.
        steps, step_size = self._params.steps, 2.5 * self._threat.eps / self._params.steps
        start = random_start(images, self._threat)
        return inner_pgd.maximise(self._student, attack_loss, images, start, self._threat, steps, step_size)


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """`KL(softmax(target) || softmax(logits))` of logits (n, classes), averaged over images; a scalar."""
    wanted, given = functional.log_softmax(target, dim=1), functional.log_softmax(logits, dim=1)
    return (wanted.exp() * (wanted - given)).sum(dim=1).mean()
