"""Bayesian connectivity sampling (BCS): noisy training of magnitudes with fixed signs; what falls below zero is rewired.

A weight is `W = s * theta` where `theta > 0` and 0 elsewhere, with a sign s that is drawn once. In the beginning each layer has
its share of connections, at random places and with `theta = |N(0, 2 / inputs)|`. In every step

    theta <- (1 - decay * lr / lr_0) theta,  then SGD on dL/dtheta = s * dL/dW of the connections with theta > 0
    theta <- theta + lr * N(0, noise^2)      of the same connections
    K - (number of theta > 0) new connections, if that is positive: layers are drawn in proportion to their sizes, then
    random places with theta <= 0 in each, which get theta = 1e-12

where K is the number of weights to keep. Connections that have fallen below zero are moved on by what momentum they have
left. Biases and norms learn, and decay likewise.

As in the released code, but for this: connections may outnumber K, and here the K largest theta stay in the end; the densities
of the beginning were chosen by hand there, and are those of `allocation` here; magnitudes come from an untruncated normal
distribution; a layer that is to have more new connections than it has places gets as many as it has, where the
released code fails. The classifier is pruned like all other layers.

The decay is decoupled from the gradient: `decay` is a share of the weights a step, not times the learning rate, and at a
learning rate of 0.1 ten times as strong as a weight decay of the same number. On digits, with cnn-small at 0.9, the start
with rescaled magnitudes ended at an era of 78.1, without rescaling, as in the paper, at 76.9: on one seed, no difference.

Source: Özdenizci and Legenstein, "Training Adversarially Robust Sparse Networks via Bayesian Connectivity Sampling", ICML 2021,
and its released code (IGITUGraz/SparseAdversarialTraining, 3dd4db8: run_connectivity_sampling.py, models/layers.py,
models/sparse_vgg16.py).

BibTeX:

@inproceedings{ozdenizci2021training,
  author = {{\\"O}zdenizci, Ozan and Legenstein, Robert},
  title = {Training Adversarially Robust Sparse Networks via {Bayesian} Connectivity Sampling},
  booktitle = {International Conference on Machine Learning},
  year = {2021},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, FromScratch, Locality

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.params import Schedule
    from sparrow.pruning.pruner import Masks, Pruner, Step, Weights

BORN = 1e-12
"""Magnitude of a new connection."""


class Params(FromScratch):
    """Decay and noise of the magnitudes, and where they begin."""

    iterative: ClassVar[bool] = True
    locality: ClassVar[Locality] = "network"
    criterion: ClassVar[Criterion] = "BCS"
    allocation: Literal["uniform", "erk", "igq"] = "igq"
    """How the ratio is divided among the layers at the start: the same in all (`uniform`), by the Erdős–Rényi kernel (`erk`),
    or by the quota `1 / (f * size + 1)` of each, with `f` such that they add up (`igq`); rewiring moves them between layers."""
    decay: float = Field(5e-4, ge=0, lt=1)
    """Share that all parameters lose in a step, while the learning rate is the initial one; in place of
    `training.pretrain.weight_decay`."""
    noise: float = Field(1e-6, ge=0)
    """Standard deviation of the noise, relative to the learning rate."""

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """The schedule of pre-training without its decay, whose place the method's own takes."""
        return own.model_copy(update={"weight_decay": 0.0})


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains magnitudes and rewires in every step."""
    from sparrow.networks.prunable import norm_layers
    from sparrow.pruning.masks import budget_of, pruned_count, random_masks
    from sparrow.pruning.pruner import Pruner, gradient_of
    from sparrow.pruning.sparse_training import rescale_to_density
    from sparrow.pruning.whole_network import keep_highest_everywhere

    class Bcs(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.generator = generator
            size = sum(weight.numel() for weight in weights.values())
            self.kept = size - pruned_count(size, ratio)
            masks = random_masks(weights, budget_of(weights, layout, ratio, params), generator)
            normal = {name: torch.randn(weight.shape, generator=generator).to(weight) for name, weight in weights.items()}
            # The normal distribution's own signs: they say nothing of its magnitudes.
            self.signs = {name: 1 - 2 * (draw < 0).to(draw) for name, draw in normal.items()}
            self.thetas = {name: draw.abs() * (2 / draw[0].numel()) ** 0.5 * masks[name] for name, draw in normal.items()}
            if not norm_layers(self.network) if params.rescale is None else params.rescale:
                rescale_to_density(self.thetas, masks)
            self.connected = self.connections()
            self.first_lr: float | None = None
            self.show(weights)
            return [theta.requires_grad_() for theta in self.thetas.values()]

        def connections(self) -> Masks:
            """Where there are connections now."""
            return {name: theta.detach() > 0 for name, theta in self.thetas.items()}

        def show(self, weights: Weights) -> None:
            """Put the signed magnitudes in the weights' places."""
            for name, theta in self.thetas.items():
                weights[name].data.copy_((self.signs[name] * theta.detach()).masked_fill(theta.detach() <= 0, 0.0))

        def after_backward(self, weights: Weights, step: Step) -> None:
            self.first_lr = step.lr if self.first_lr is None else self.first_lr
            self.connected = self.connections()
            for name, theta in self.thetas.items():
                theta.grad = self.signs[name] * gradient_of(weights[name]) * self.connected[name]
            others = [parameter for name, parameter in self.network.named_parameters() if name not in weights]
            for tensor in (*self.thetas.values(), *others):
                tensor.data.mul_(1 - params.decay * step.lr / self.first_lr)

        def after_step(self, weights: Weights, step: Step) -> None:
            for name, connected in self.connected.items():
                theta = self.thetas[name].data
                draws = torch.randn(int(connected.sum()), generator=self.generator).to(theta)
                theta[connected] += step.lr * params.noise * draws
            self.rewire()
            self.show(weights)

        def rewire(self) -> None:
            """Make as many new connections as are missing, or fewer where a drawn layer has no place for them."""
            missing = self.kept - sum(int(connected.sum()) for connected in self.connections().values())
            if missing <= 0:
                return
            sizes = torch.tensor([float(theta.numel()) for theta in self.thetas.values()])
            layers = torch.multinomial(sizes, missing, replacement=True, generator=self.generator)
            for theta, number in zip(self.thetas.values(), layers.bincount(minlength=len(sizes)).tolist(), strict=True):
                flat = theta.data.view(-1)
                free = (flat <= 0).nonzero().flatten()
                flat[free[some_of(len(free), number, self.generator).to(free.device)]] = BORN

        def end(self, weights: Weights) -> Masks:
            return keep_highest_everywhere({name: theta.detach() for name, theta in self.thetas.items()}, self.kept)

    return Bcs()


def some_of(places: int, number: int, generator: torch.Generator) -> torch.Tensor:
    """`number` different indices, int64, below `places`, or all of these; without a permutation of all if they are few."""
    if 2 * number > places:
        return torch.randperm(places, generator=generator)[:number]
    chosen = torch.empty(0, dtype=torch.int64)
    while len(chosen) < number:
        chosen = torch.cat([chosen, torch.randint(places, (number - len(chosen),), generator=generator)]).unique()
    return chosen
