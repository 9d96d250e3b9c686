"""A network that a method prunes: tensors alone, for a job and for Python."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.data.store import Part
from sparrow.errors import SparrowError
from sparrow.jobs.costs import METER
from sparrow.jobs.no_gradient import loss_blamed
from sparrow.jobs.resume_point import ResumePoint
from sparrow.networks.prunable import norm_layers, norm_parameters, prunable_weights
from sparrow.networks.structure import Layout, filter_masks, require_followed
from sparrow.pruning.params import Method
from sparrow.pruning.pruner import Batch, Masks, Pruner, Weights
from sparrow.pruning.ratio import shortage
from sparrow.reproducible import derive_seed
from sparrow.settings import Threat
from sparrow.stages._mask_check import raise_for, require_pattern
from sparrow.stages._norm_statistics import recompute
from sparrow.stages._pruner_check import require_masks, require_pruner, require_tensors
from sparrow.training.checked_result import require_gradient, require_scalar
from sparrow.training.loop import CurveRow, Hooks, Step, train
from sparrow.training.loss import Loss
from sparrow.training.schedule import Schedule

LOOP_HOOKS = ("loss", "after_backward", "after_step", "epoch", "trace", "finished")
"""The methods of a pruner that only the training loop calls."""


class How(NamedTuple):
    """A method with its parameters, the share that it removes, and the seed that its random numbers come from."""

    kind: str
    entry: ModuleType
    params: Method
    ratio: float
    seed: int
    threat: Threat | None = None
    """The threat of a method whose parameters have an `eps`."""

    @property
    def name(self) -> str:
        return f"methods.{self.kind}"


class Training(NamedTuple):
    """What a method that needs batches or a schedule trains by."""

    loss: Loss
    schedule: Schedule
    objective: str
    """Kind of the objective, which errors name."""
    perturbs: bool


class Pruned(NamedTuple):
    """What a method has made of a network, whose pruned weights are 0 now."""

    masks: Masks
    """True where a weight is kept; of a method that removes filters, for norms and biases, too."""
    rows: list[tuple]
    trace: list[tuple]
    pruner: Pruner


def pruned(
    model: nn.Module,
    shape: tuple[int, int, int],
    parts: dict[str, Part],
    how: How,
    training: Training | None,
    generator: torch.Generator,
    resume: ResumePoint | None = None,
) -> Pruned:
    """Prune `model`, for images of `shape`, in place; `training` is asked for by methods that need batches or a schedule.

    Raises SparrowError if the method's masks do not have the ratio, or if the ratio leaves a layer no filter, NetworkError if
    it is not known which layers share filters.
    """
    kind, params, name = how.kind, how.params, how.name
    pruner = require_pruner(how.entry.prepare(params, how.ratio, generator), name)
    weights, layout = prunable_weights(model), Layout(model, shape)
    require_pattern(params, weights, kind)
    alive = {key: weight.detach() != 0 for key, weight in weights.items()}
    if pruner.budget != "weights":
        require_followed(model, shape)
        if line := shortage(params, layout.filters(weights), how.ratio):
            raise SparrowError(f"{name}: {line}")
    pruner.network = model
    optimised = require_tensors(pruner.start(weights, layout), name)
    if optimised and params.needs != "schedule":
        raise SparrowError(
            f"{name}: its pruner has tensors to optimise, but Params.needs is {params.needs!r}; valid: 'schedule'"
        )
    if params.needs == "nothing":
        _require_called(pruner, kind)
    others = pruner.others if params.needs == "schedule" else "frozen"
    rows, hooks = [], PrunerHooks(pruner, name, model, weights, others, how.threat)
    if params.needs != "nothing":
        assert training is not None, "its spec has one"
        # Of its own: what a method draws has no share in the order of the images.
        batches = torch.Generator().manual_seed(derive_seed(how.seed, "prune batches"))
        everything = [*optimised, *learning_besides(others, model, weights)]
        hooks.learns = bool(everything)
        rows = train(
            model,
            training.loss,
            parts,
            training.schedule,
            everything,
            batches,
            hooks,
            resume=resume,
            steps_of=params.steps_of,
            perturbs=training.perturbs,
            name=f"objectives.{training.objective}",
        )
    masks = require_masks(pruner.end(weights), weights, name)
    raise_for(masks, weights, layout, how.ratio, pruner.budget, kind, params)
    dead = sum(int((mask & alive[key] & (weights[key] == 0)).sum()) for key, mask in masks.items())
    # A weight that has grown anew begins at zero, and stays there if its input is always zero.
    if dead and params.pipeline != "during":
        raise SparrowError(f"{name}: keeps {dead} weights whose values it has set to zero")
    if pruner.budget != "weights":
        masks |= filter_masks(model, layout, masks)
    for key, mask in masks.items():
        model.get_parameter(key).data.mul_(mask)
    if params.norm_statistics == "recompute":
        recompute(model, parts["train"])
    return Pruned(masks, rows, hooks.trace, pruner)


def _require_called(pruner: Pruner, kind: str) -> None:
    """Raise SparrowError if the pruner of a method that needs nothing, `kind`, has hooks of the training loop."""
    unused = [name for name in LOOP_HOOKS if getattr(type(pruner), name) is not getattr(Pruner, name)]
    if unused:
        raise SparrowError(
            f"methods.{kind}: its pruner defines `{unused[0]}`, which nothing calls, since Params.needs is 'nothing'; "
            "valid: 'batches' or 'schedule'"
        )


class PrunerHooks(Hooks):
    """Hooks of the training loop that call a pruner's, and record its trace."""

    def __init__(
        self, pruner: Pruner, name: str, model: nn.Module, weights: Weights, others: str, threat: Threat | None
    ) -> None:
        self._pruner, self._name, self._model, self._weights, self._threat = pruner, name, model, weights, threat
        self.learns = False
        """Whether something is optimised, so that the loss has to have a gradient."""
        self._frozen = norm_layers(model) if others == "frozen" else []
        self.trace: list[tuple] = []

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        for norm in self._frozen:
            norm.eval()  # Frozen are its statistics, too.
        with loss_blamed(self._name, self._model, images):
            loss = self._pruner.loss(Batch(self._model, images, labels, self._threat, objective))
        require_scalar(loss, self._name)
        if self.learns:
            require_gradient(loss, self._name, self._model, images)
        return loss

    def after_backward(self, step: Step) -> None:
        self._pruner.after_backward(self._weights, step)

    def after_step(self, step: Step) -> None:
        # What a method finds out by itself between two steps has its cost, too.
        with METER.watching(self._model):
            self._pruner.after_step(self._weights, step)

    def after_epoch(self, row: CurveRow) -> None:
        self._pruner.epoch(row)
        self.trace += [(row.epoch, name, float(value)) for name, value in self._pruner.trace().items()]

    def finished(self) -> bool:
        return self._pruner.finished()

    def state_dict(self) -> dict:
        return {"trace": self.trace, "pruner": self._pruner.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.trace = state["trace"]
        self._pruner.load_state_dict(state["pruner"])


def learning_besides(others: str, model: nn.Module, weights: Weights) -> list[Tensor]:
    """The parameters besides `weights` that learn while the method trains: all, those of norms, or none, as `others` says."""
    if others == "all":
        return [parameter for name, parameter in model.named_parameters() if name not in weights]
    return norm_parameters(model) if others == "norms" else []
