"""MART: adversarial training that weighs images by how misclassified they are.

The loss on the adversarial image x' is `BCE(p(x'), y) + weight * KL(p(x) || p(x')) * (1 - p_y(x))`, where BCE adds to the
cross-entropy a margin term, `-log(1 - max over k != y of p_k(x'))`.

The released code adds small constants to what it takes the logarithm of: `1.0001 - p` bounds its margin term by 9.2, where
`p <= 1 - 1e-6` bounds it by 13.8 here, and changes it by less than 0.01 while p is below 0.99; the weight of the divergence is
`1.0000001 - p_y` there. It takes its first gradient at a start that is not clipped to [0, 1].

Source: Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", ICLR 2020; defaults
of its released code (YisenWang/MART).

BibTeX:

@inproceedings{wang2020improving,
  author = {Wang, Yisen and Zou, Difan and Yi, Jinfeng and Bailey, James and Ma, Xingjun and Gu, Quanquan},
  title = {Improving Adversarial Robustness Requires Revisiting Misclassified Examples},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import PGDParams


class Params(PGDParams):
    """PGD on the cross-entropy, from a point 0.001 * N(0, 1) away."""

    weight: float = Field(5.0, ge=0)
    """Weight of the divergence (lambda in the paper)."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `BCE(p(x'), y) + weight * KL(p(x) || p(x')) * (1 - p_y(x))`, x' found by PGD."""
    from sparrow.training import inner_pgd

    functional = torch.nn.functional

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        def attack_loss(logits: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(logits, labels, reduction="sum")

        start = images + 0.001 * torch.randn_like(images)
        step_size = params.resolved_step_size(threat.eps)
        adversarial = inner_pgd.maximise(model, attack_loss, images, start, threat, params.steps, step_size)
        clean, perturbed = functional.log_softmax(model(images), dim=1), functional.log_softmax(model(adversarial), dim=1)
        own = labels.unsqueeze(1)
        rival = perturbed.scatter(1, own, -torch.inf).amax(dim=1)
        # log(1 - p) of the likeliest wrong class; p stays below 1 by more than rounding.
        margin = -torch.log1p(-rival.exp().clamp_max(1 - 1e-6))
        boosted = functional.nll_loss(perturbed, labels) + margin.mean()
        divergence = functional.kl_div(perturbed, clean, reduction="none", log_target=True).sum(dim=1)
        doubt = 1 - clean.gather(1, own).squeeze(1).exp()
        return boosted + params.weight * (divergence * doubt).mean()

    return loss
