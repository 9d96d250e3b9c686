"""Deadwooding: the smallest weights of the whole network are driven to zero under a Lagrangian dual, then pruned at once.

In the first `dual_share` of the schedule all parameters minimise `L = J + sum of lambda_i max(0, g_i)`, where J is the
study's objective, and after each epoch every multiplier ascends by `dual_step` times the epoch's mean violation. Then the
smallest weights of the network are removed at once, and for the rest of the schedule what is left learns from the dense
network (knowledge distillation) on FGSM examples. The study's own fine-tuning follows, as for every method.

No code was released, and the paper's body was not at hand. So these parts are our reading: the constraints,
  sparsity    g = the share of the network's magnitude that the globally smallest `ratio` of its weights holds,
  accuracy    g = cross-entropy minus the dense network's,
  robustness  g = mean squared distance between the logits on clean and on FGSM images, minus the dense network's;
the loss after pruning, `(1 - a) CE(f(x'), y) + a T^2 KL(dense(x) || f(x'))` at temperature T; and all defaults.

Source: after Kaur, Fioretto and Salekin, "Deadwooding: Robust Global Pruning for Deep Neural Networks", arXiv 2202.05226;
the dual scheme after Fioretto et al., "Lagrangian Duality for Constrained Deep Learning", ECML PKDD 2020.

BibTeX:

@misc{kaur2022deadwooding,
  author = {Kaur, Sawinder and Fioretto, Ferdinando and Salekin, Asif},
  title = {Deadwooding: Robust Global Pruning for Deep Neural Networks},
  year = {2022},
  eprint = {2202.05226},
  archiveprefix = {arXiv},
}

@inproceedings{fioretto2020lagrangian,
  author = {Fioretto, Ferdinando and Van Hentenryck, Pascal and Mak, Terrence W. K. and Tran, Cuong and Baldo, Federico and
    Lombardi, Michele},
  title = {{Lagrangian} Duality for Constrained Deep Learning},
  booktitle = {Machine Learning and Knowledge Discovery in Databases (ECML PKDD)},
  year = {2020},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Locality, Method, Needs, Trains
from sparrow.settings import Radius

if TYPE_CHECKING:
    from sparrow.networks.structure import Layout
    from sparrow.pruning.pruner import Batch, Masks, Pruner, Step, Weights

CONSTRAINTS = ("sparsity", "accuracy", "robustness")


class Params(Method):
    """The dual scheme and the distillation."""

    criterion: ClassVar[Criterion | None] = "SOLWM"
    locality: ClassVar[Locality] = "network"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    traces: ClassVar[bool] = True
    eps: Radius | None = None
    """Radius of FGSM in pixel units; the threat's if null."""
    dual_share: float = Field(0.5, gt=0, lt=1)
    """Share of the schedule before the weights are pruned."""
    dual_step: float = Field(0.1, gt=0)
    """Ascent of a multiplier per epoch and unit of violation."""
    distillation: float = Field(0.5, ge=0, le=1)
    """Weight `a` of the distillation after pruning."""
    temperature: float = Field(4.0, gt=0)
    """Temperature `T` of the distillation."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner for the whole network."""
    import copy

    from sparrow.adversary.fgsm import fgsm
    from sparrow.pruning.held_weights import hold, hold_gradients
    from sparrow.pruning.masks import keep_highest, pruned_count
    from sparrow.pruning.pruner import Pruner

    functional = torch.nn.functional

    class Deadwooding(Pruner):
        others = "all"

        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            self.weights = weights
            self.teacher: torch.nn.Module | None = None
            self.masks: dict[str, torch.Tensor] | None = None
            self.multipliers = dict.fromkeys(CONSTRAINTS, 0.0)
            self.violations = dict.fromkeys(CONSTRAINTS, 0.0)
            self.residuals = dict(self.violations)
            return list(weights.values())

        def loss(self, batch: Batch) -> torch.Tensor:
            if self.teacher is None:
                self.teacher = copy.deepcopy(batch.model).eval()
            return self.dual_loss(batch, self.teacher) if self.masks is None else self.distillation_loss(batch, self.teacher)

        def dual_loss(self, batch: Batch, teacher: torch.nn.Module) -> torch.Tensor:
            assert batch.threat is not None, "Params has an eps"
            objective = batch.objective()
            attacked = fgsm(batch.model, batch.images, batch.labels, batch.threat)
            with torch.no_grad():
                before = teacher(batch.images)
                allowed = functional.mse_loss(before, teacher(attacked))
            logits = batch.model(batch.images)
            constraints = {
                "sparsity": small_mass(torch.cat([weight.flatten() for weight in self.weights.values()]), ratio),
                "accuracy": functional.cross_entropy(logits, batch.labels) - functional.cross_entropy(before, batch.labels),
                "robustness": functional.mse_loss(logits, batch.model(attacked)) - allowed,
            }
            for name, value in constraints.items():
                violation = value.clamp_min(0)
                self.violations[name] += violation.item()
                objective = objective + self.multipliers[name] * violation
            return objective

        def distillation_loss(self, batch: Batch, teacher: torch.nn.Module) -> torch.Tensor:
            assert batch.threat is not None, "Params has an eps"
            attacked = fgsm(batch.model, batch.images, batch.labels, batch.threat)
            with torch.no_grad():
                taught = functional.softmax(teacher(batch.images).float() / params.temperature, dim=1)
            logits = batch.model(attacked)
            learned = functional.log_softmax(logits / params.temperature, dim=1)
            distance = params.temperature**2 * functional.kl_div(learned, taught, reduction="batchmean")
            return (1 - params.distillation) * functional.cross_entropy(logits, batch.labels) + params.distillation * distance

        def after_backward(self, weights: Weights, step: Step) -> None:
            hold_gradients(weights, self.masks or {})

        def after_step(self, weights: Weights, step: Step) -> None:
            if self.masks is None and (step.number + 1) % step.per_epoch == 0:
                for name in CONSTRAINTS:
                    self.residuals[name] = self.violations[name] / step.per_epoch
                    self.multipliers[name] += params.dual_step * self.residuals[name]
                    self.violations[name] = 0.0
            if self.masks is None and step.number + 1 >= params.dual_share * step.total:
                self.masks = self.smallest(weights)
            hold(weights, self.masks or {})

        def smallest(self, weights: Weights) -> Masks:
            magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
            kept = keep_highest(magnitudes, pruned_count(len(magnitudes), ratio))
            parts = kept.split([weight.numel() for weight in weights.values()])
            # Copies: tensors that share memory cannot be written to a resume point one by one.
            return {name: part.view_as(weights[name]).clone() for name, part in zip(weights, parts, strict=True)}

        def trace(self) -> dict[str, float]:
            pruned = {"pruned": float(self.masks is not None)}
            residuals = {f"residual of {name}": value for name, value in self.residuals.items()}
            return pruned | residuals | {f"multiplier of {name}": value for name, value in self.multipliers.items()}

        def end(self, weights: Weights) -> Masks:
            assert self.masks is not None, "the schedule is longer than its first part"
            return self.masks

    return Deadwooding()


def small_mass(weights: torch.Tensor, ratio: float) -> torch.Tensor:
    """The share of the magnitude of all weights (n,) that the smallest share `ratio` of them holds, in [0, 1]."""
    from sparrow.pruning.masks import pruned_count

    magnitudes = weights.abs().sort().values
    total = magnitudes.sum().clamp_min(torch.finfo(magnitudes.dtype).tiny)
    return magnitudes[: pruned_count(len(magnitudes), ratio)].sum() / total
