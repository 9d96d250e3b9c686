"""PwoA: a robust network is pruned without adversarial images; the dense network teaches its pruned copy on clean ones.

Until `admm_share` of the schedule is over, all parameters minimise the distillation loss `D` and ADMM's penalty

  `D = alpha T^2 mean of q (log q - log r)`,  q = softmax(dense(x) / T),  r = softmax(f(x) / T),
  `rho/2 |W - Z + U|^2`,  summed over layers,

where the mean is over images and classes: `alpha` 10 is 1 an image where there are ten classes. At the start of each epoch
`Z <- project(W)` (`reset_targets`); every `admm_epochs` epochs, `rho <- min(1, rho_growth rho)`, `Z <- project(W + U)` and
`U <- U + W - Z`. Then each layer's smallest weights go at once, and what is left minimises

  `D + sum over h of lambda_x HSIC(h, x) - lambda_y HSIC(h, y)`,

the HSIC bottleneck: hidden representations `h` are to depend on the labels and not on the images. For a batch of m,

  `HSIC(u, v) = trace(R_u R_v)`,  `R = C (C + 1e-5 m I)^-1`,  `C = K (I - 1/m)`,

with K linear for labels (one-hot), and Gaussian for all else: `exp(-|u_i - u_j|^2 / (2 sigma^2 d))` in d dimensions. The
study's objective has no part in either; it fine-tunes, as for every method.

As in the released code, which was read line by line; defaults are those of its scripts for CIFAR-10. What is ours: `h` are the
inputs of all prunable layers but the first, one that several layers share counted once (there, each architecture names its
own: blocks' outputs and hidden linear layers); all prunable layers are pruned (there, convolutions and `fc` alone); one cosine
of learning rates, that of `training.finetune`, spans both parts, and momentum goes on (there 0.01, 0.001 and 0.0001 in turn,
then a new optimiser, 0.005 and a cosine); magnitudes that are equal do not change the ratio; a bias of 0 goes on learning. That
targets are set anew each epoch, without the duals, is a side effect of that code, not of the paper; `reset_targets: false` does
without. Measured on digits (cnn-small, 0.9 pruned, seed 0), neither it nor the bottleneck makes a difference: robust accuracy
is 86 % with both, and without either.

Source: Jian, Wang, Wang, Dy and Ioannidis, "Pruning Adversarially Robust Neural Networks without Adversarial Examples", ICDM
2022 (neu-spiral/PwoA, commit ad22c5d); HSIC as in Wang et al., "Revisiting Hilbert-Schmidt Information Bottleneck for
Adversarial Robustness", NeurIPS 2021.

BibTeX:

@inproceedings{jian2022pruning,
  author = {Jian, Tong and Wang, Zifeng and Wang, Yanzhi and Dy, Jennifer and Ioannidis, Stratis},
  title = {Pruning Adversarially Robust Neural Networks without Adversarial Examples},
  booktitle = {IEEE International Conference on Data Mining},
  year = {2022},
}

@inproceedings{wang2021revisiting,
  author = {Wang, Zifeng and Jian, Tong and Masoomi, Aria and Ioannidis, Stratis and Dy, Jennifer},
  title = {Revisiting {Hilbert-Schmidt} Information Bottleneck for Adversarial Robustness},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Needs, Patterned, PerLayer, Trains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Step, Weights


class Params(PerLayer, Patterned):
    """The distillation, the penalty before weights are pruned, and the bottleneck behind."""

    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    criterion: ClassVar[Criterion] = "SOLWM"
    traces: ClassVar[bool] = True
    alpha: float = Field(10.0, gt=0)
    """Weight of the distillation; 100 in the paper's code where there are a hundred classes."""
    temperature: float = Field(30.0, gt=0)
    """Temperature `T` of the distillation."""
    admm_share: float = Field(1 / 3, gt=0, lt=1)
    """Share of the schedule before the weights are pruned: 50 of 150 epochs."""
    admm_epochs: int = Field(3, ge=1)
    """Epochs between two updates of Z and U."""
    reset_targets: bool = True
    """At each epoch's start set Z to the projection of W alone, as in the paper's code; without, Z stays until an update."""
    rho: float = Field(0.01, gt=0, le=1)
    """Weight of the penalty at first."""
    rho_growth: float = Field(1.35, ge=1)
    """Factor of the weight at each update; it grows to 1 at most."""
    lambda_x: float = Field(2e-5, ge=0)
    """Weight of `HSIC(h, x)`; in the paper's code 2e-4 for MNIST, 5e-7 for CIFAR-100."""
    lambda_y: float = Field(1e-4, ge=0)
    """Weight of `HSIC(h, y)`; in the paper's code 5e-5 for MNIST, 2e-6 for CIFAR-100."""
    sigma: float = Field(5.0, gt=0)
    """Width of the Gaussian kernels, a dimension."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that trains all parameters, at first under a penalty, then without the smallest weights."""
    import copy

    from sparrow.pruning.held_weights import hold, hold_gradients
    from sparrow.pruning.sparse_targets import SparseTargets, distance

    class Pwoa(SparseTargets):
        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.weights, self.rho = weights, params.rho
            self.teacher: torch.nn.Module | None = None
            self.masks: dict[str, torch.Tensor] | None = None
            return super().start(weights, layout)

        def loss(self, batch: Batch) -> torch.Tensor:
            if self.teacher is None:
                self.teacher = copy.deepcopy(batch.model).eval()
            with torch.no_grad():
                taught = self.teacher(batch.images)
            with inputs_of(batch.model, self.weights) as hidden:
                logits = batch.model(batch.images)
            loss = params.alpha * distillation(taught, logits, params.temperature)
            if self.masks is None or not hidden:
                return loss
            classes = torch.nn.functional.one_hot(batch.labels, logits.shape[1])
            images, labels = dependence(gaussian(batch.images, params.sigma)), dependence(linear(classes))
            for representation in hidden:
                own = dependence(gaussian(representation, params.sigma))
                loss = loss + params.lambda_x * hsic(own, images) - params.lambda_y * hsic(own, labels)
            return loss

        def after_backward(self, weights: Weights, step: Step) -> None:
            if self.masks is not None:
                hold_gradients(weights, self.masks)
                return
            epoch, batch = divmod(step.number, step.per_epoch)
            if batch == 0 and params.reset_targets:
                self.targets = self.project(weights)
            if batch == 0 and epoch and epoch % params.admm_epochs == 0:
                self.rho = min(1.0, params.rho_growth * self.rho)
                self.update(weights)
            self.pull(weights, self.rho)

        def after_step(self, weights: Weights, step: Step) -> None:
            if self.masks is None and step.number + 1 >= params.admm_share * step.total:
                self.masks = self.keep(weights)
            hold(weights, self.masks or {})

        def trace(self) -> dict[str, float]:
            missed = distance(self.weights, self.targets)
            return {"pruned": float(self.masks is not None), "rho": self.rho, "primal residual |W - Z|": missed}

        def end(self, weights: Weights) -> Masks:
            assert self.masks is not None, "the schedule is longer than its first part"
            return self.masks

    return Pwoa(params, ratio)


def distillation(taught: torch.Tensor, learned: torch.Tensor, temperature: float) -> torch.Tensor:
    """`T^2` times the mean over images and classes of `q (log q - log r)`, for logits (n, classes) of teacher and pupil.

    In double precision: at a temperature of 30 terms nearly cancel, and `T^2` would multiply the rounding of single ones.
    """
    q, r = ((logits.double() / temperature).log_softmax(dim=1) for logits in (taught, learned))
    return temperature**2 * (q.exp() * (q - r)).mean()


@contextmanager
def inputs_of(model: torch.nn.Module, weights: Iterable[str]) -> Iterator[list[torch.Tensor]]:
    """A list that gathers the inputs (n, ...) of the layers that `weights` name, each once, while `model` is called once.

    The images are not among them: what the layer that is called first is given is left out.
    """
    found: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []

    def gather(layer: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        if not any(one is given[0] for one in seen):
            found.extend(given[:1] if seen else ())
            seen.append(given[0])

    layers = [model.get_submodule(name.removesuffix(".weight")) for name in weights]
    hooks = [layer.register_forward_pre_hook(gather) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def gaussian(batch: torch.Tensor, sigma: float) -> torch.Tensor:
    """The kernel `exp(-|u_i - u_j|^2 / (2 sigma^2 d))` (n, n) of `batch` (n, ...), d numbers each; in double precision."""
    rows = batch.flatten(1).double()
    products = rows @ rows.T
    squares = products.diagonal()
    distances = (squares[:, None] + squares - 2 * products).clamp_min(0)
    return (-distances / (2 * sigma**2 * rows.shape[1])).exp()


def linear(batch: torch.Tensor) -> torch.Tensor:
    """The kernel `Y Y'` (n, n) of `batch` (n, d); in double precision."""
    return batch.double() @ batch.double().T


def dependence(kernel: torch.Tensor) -> torch.Tensor:
    """`R = C (C + 1e-5 m I)^-1` (m, m) of a kernel K (m, m), where `C = K (I - 1/m)` centres it."""
    centred = kernel - kernel.mean(dim=1, keepdim=True)
    ridge = 1e-5 * len(kernel) * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    return torch.linalg.solve(centred + ridge, centred, left=False)


def hsic(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`trace(R_u R_v)`, a scalar, of two `dependence`s (m, m)."""
    return (first * second.T).sum()
