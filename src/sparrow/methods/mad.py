"""Masking Adversarial Damage (MAD): a mask against adversarial images is weighed by what its removals would do to the loss.

For each batch, PGD finds adversarial images `x'` of the dense network, and some steps of Adam find a soft mask
`m = softplus(u)` in (0, 1] of all weights under which their loss `CE(f(x'), y)` is low; it starts at 1. What it takes away,
`dW = W - W m`, is weighed by the Fisher information `H` at the masked network, which has one Kronecker factor for a layer's
inputs and one for its outputs:

  `S_ij = 1/2 G_ii dW_ij (dW A)_ij`, so that a layer's sum of `S` is `1/2 dW' H dW`, were `G` diagonal.

`A` is the mean of `a a'` over images and its sum over positions, `a` being a position's inputs divided by the number P of
positions; `G_ii = B P sum of g_i^2`, with `g` the gradient of the mean cross-entropy of B images at the layer's outputs. `S` is
summed over the batches of one epoch, in which the network is in eval mode and keeps its weights. Then the lowest go at once,
negative ones first: all layers but the last compete, and each row of the last loses its own share.

As in the released code, which was read line by line. What is ours: biases are neither masked nor pruned, and have no column
in `A` and `dW`; the last prunable layer is the one with rows (there the first linear one, so that networks with several do
not run); all layers together meet the ratio to the weight, for which rows may differ by one; a layer keeps a weight at least;
the radius is the threat's (0.03 there), and batches are those of `training.prune` (of 128 there). Fine-tuning is the study's;
theirs has 60 epochs of MART with beta 0.5.

Measured on digits (cnn-small, eps 0.1, 0.9 pruned, PGD-40, seeds 0 to 2): a third of all scores are negative, and right after
pruning the network answers with one class. Fine-tuned for 20 epochs, empirical robust accuracy is 69, 60 and 39 %, that of
`random` 50, 63 and 39; for 8 epochs, with shorter schedules before, 39, 25 and 27 against 9, 17 and 11. Where each layer keeps
as many weights as here, but random ones, it is 49, 70 and 71, and with its largest ones 86, 83 and 83: what is chosen within a
layer does not help there.

Source: Lee, Kim and Ro, "Masking Adversarial Damage: Finding Adversarial Saliency for Robust and Sparse Network", CVPR 2022
(ByungKwanLee/Masking-Adversarial-Damage, commit d6bb254).

BibTeX:

@inproceedings{lee2022masking,
  author = {Lee, Byung-Kwan and Kim, Junho and Ro, Yong Man},
  title = {Masking Adversarial Damage: Finding Adversarial Saliency for Robust and Sparse Network},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2022},
}
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Batches, Criterion, Locality
from sparrow.settings import Radius, Threat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Weights

OPEN, SHUT = 1.0, 1e-4
"""The largest value of a mask, at which it starts, and the smallest."""


class Params(Batches):
    """The attack, the search for masks, and on how many batches."""

    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion] = "LIS"
    batches: int | None = Field(None, ge=1)
    """Batches that scores are summed over; one whole epoch, as in the paper, if null."""
    eps: Radius | None = None
    """Radius of PGD in pixel units; the threat's if null."""
    steps: int = Field(10, ge=1)
    """Gradient steps of PGD."""
    step_size: Radius | None = None
    """Length of one of these in pixel units; 2.3 * eps / steps if null."""
    mask_steps: int = Field(20, ge=1)
    """Steps of Adam that look for a batch's mask."""
    mask_lr: float = Field(0.1, gt=0)
    """Their learning rate."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the weights with the highest `S`."""
    from sparrow.networks.modes import eval_mode
    from sparrow.pruning.pruner import Pruner

    class Mad(Pruner):
        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.weights = weights
            self.saliency = {name: torch.zeros_like(weight) for name, weight in weights.items()}
            return []

        def loss(self, batch: Batch) -> torch.Tensor:
            assert batch.threat is not None, "Params has an eps"
            weights = {name: weight.detach() for name, weight in self.weights.items()}
            step_size = params.step_size or 2.3 * batch.threat.eps / params.steps
            with eval_mode(batch.model):
                attacked = pgd(batch.model, batch.images, batch.labels, batch.threat, params.steps, step_size)
                masks = soft_masks(batch.model, weights, attacked, batch.labels, params.mask_steps, params.mask_lr)
                found, loss = saliency(batch.model, weights, masks, attacked, batch.labels)
            for name, scores in found.items():
                self.saliency[name] += scores
            return loss

        def end(self, weights: Weights) -> Masks:
            return masks_of_two_budgets(self.saliency, ratio)

    return Mad()


def pgd(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, threat: Threat, steps: int, step_size: float
) -> torch.Tensor:
    """Images (n, c, h, w) that `steps` up the cross-entropy lead to, from a random start within `threat`."""
    from sparrow.adversary.geometry import direction, project, random_start

    attacked = project(random_start(images, threat), images, threat)
    for _ in range(steps):
        attacked.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(attacked), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, attacked)
        attacked = project(attacked.detach() + step_size * direction(gradient, threat), images, threat)
    return attacked


def soft_masks(
    model: torch.nn.Module, weights: Weights, images: torch.Tensor, labels: torch.Tensor, steps: int, lr: float
) -> dict[str, torch.Tensor]:
    """Masks with values from `SHUT` to `OPEN`, shaped like `weights`, under which the cross-entropy of `images` is low."""
    low, high = (float(torch.tensor(bound, dtype=torch.float64).expm1().log()) for bound in (SHUT, OPEN))
    softplus = torch.nn.functional.softplus
    logits = {name: torch.full_like(weight, high, requires_grad=True) for name, weight in weights.items()}
    optimiser = torch.optim.Adam(logits.values(), lr=lr)
    for _ in range(steps):
        masked = {name: weights[name] * softplus(logit) for name, logit in logits.items()}
        loss = torch.nn.functional.cross_entropy(torch.func.functional_call(model, masked, (images,)), labels)
        for logit, gradient in zip(logits.values(), torch.autograd.grad(loss, list(logits.values())), strict=True):
            logit.grad = gradient
        optimiser.step()
        for logit in logits.values():
            logit.data.clamp_(low, high)
    return {name: softplus(logit.detach()) for name, logit in logits.items()}


def saliency(
    model: torch.nn.Module, weights: Weights, masks: Weights, images: torch.Tensor, labels: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """`S` of one batch, shaped like `weights`, and the masked network's cross-entropy, a detached scalar."""
    used: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    layers = {name: model.get_submodule(name.removesuffix(".weight")) for name in weights}

    def watch(layer: torch.nn.Module, given: tuple[torch.Tensor], output: torch.Tensor, name: str) -> torch.Tensor:
        used.append((name, given[0].detach(), output))
        return output.clone()  # What comes behind may write to its input.

    hooks = [layer.register_forward_hook(partial(watch, name=name)) for name, layer in layers.items()]
    try:
        masked = {name: (weight * masks[name]).requires_grad_() for name, weight in weights.items()}
        loss = torch.nn.functional.cross_entropy(torch.func.functional_call(model, masked, (images,)), labels)
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(loss, [output for _, _, output in used], allow_unused=True)
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for (name, inputs, _), gradient in zip(used, gradients, strict=True):
        if gradient is not None:
            found[name] += layer_saliency(layers[name], weights[name] * (1 - masks[name]), inputs, gradient)
    return found, loss.detach()


def layer_saliency(layer: torch.nn.Module, change: torch.Tensor, inputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """`1/2 G_ii dW_ij (dW A)_ij`, shaped like `change`, which is dW.

    `inputs` (n, ...) are the layer's; `gradient` is that of the mean loss at its outputs: (n, out, ...) for a convolution,
    (n, ..., out) for a linear layer. With outputs `Y` under dW and no bias, `dW A` is the gradient of
    `|Y|^2 / (2 n P^2)` by dW, also of a grouped or dilated convolution.
    """
    by_output = (gradient if isinstance(layer, torch.nn.Linear) else gradient.movedim(1, -1)).flatten(0, -2).to(change.dtype)
    images, places = len(gradient), len(by_output)
    diagonal = places * by_output.square().sum(dim=0)
    change = change.detach().clone().requires_grad_()
    own = {"weight": change} | {name: torch.zeros_like(bias) for name, bias in layer.named_parameters() if name == "bias"}
    with torch.autocast(gradient.device.type, enabled=False):
        outputs = torch.func.functional_call(layer, own, (inputs.to(change.dtype),))
        (product,) = torch.autograd.grad(outputs.square().sum() * images / (2 * places**2), change)
    return 0.5 * diagonal.view(-1, *[1] * (change.dim() - 1)) * change.detach() * product


def masks_of_two_budgets(scores: Mapping[str, torch.Tensor], ratio: float) -> Masks:
    """Masks that drop the lowest scores: in the last layer the share `ratio` of each row, in all others together the rest.

    Rows of the last layer lose equally many, or one more where that row's next score is among the lowest ones.
    """
    from sparrow.pruning.masks import pruned_count
    from sparrow.pruning.whole_network import keep_highest_everywhere

    *others, last = scores
    whole = sum(score.numel() for score in scores.values())
    own = pruned_count(scores[last].numel(), ratio)
    rest = whole - pruned_count(whole, ratio) - (scores[last].numel() - own)
    together = keep_highest_everywhere({name: scores[name] for name in others}, rest, at_least=1) if others else {}
    return together | {last: keep_highest_of_rows(scores[last], own)}


def keep_highest_of_rows(scores: torch.Tensor, dropped: int) -> torch.Tensor:
    """Mask, shaped like `scores` (rows, ...), without the lowest of each row, `dropped` in all: equally many, or one more.

    Of equal scores, the first in memory are dropped first.
    """
    rows = scores.flatten(1)
    each, more = divmod(dropped, len(rows))
    values, order = rows.sort(dim=1, stable=True)
    mask = torch.ones_like(rows, dtype=torch.bool).scatter_(1, order[:, :each], False)
    if more:
        chosen = values[:, each].sort(stable=True).indices[:more]
        mask[chosen, order[chosen, each]] = False
    return mask.view_as(scores)
