"""Prune a network: a dense one or, for a method that prunes before or during training, an initial one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import sha256
from sparrow.files.specs import opened
from sparrow.jobs import interruption
from sparrow.jobs.costs import METER, record_cost
from sparrow.jobs.no_gradient import loss_blamed
from sparrow.jobs.resume_point import resumable
from sparrow.networks.cutting import require_cuttable
from sparrow.networks.prunable import norm_layers, norm_parameters, prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from sparrow.pruning.pruner import Batch, Pruner, Weights
from sparrow.pruning.ratio import shortage
from sparrow.reproducible import derive_seed, pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages._failure import recorded
from sparrow.stages._mask_check import off_ratio, raise_for, require_pattern
from sparrow.stages._norm_statistics import recompute
from sparrow.stages._origin import header, require_data
from sparrow.stages._physical_size import at_physical_size
from sparrow.stages._pruner_check import require_masks, require_pruner, require_tensors
from sparrow.stages._training import failed_training, loss_function, perturbs, training_data, write_curve
from sparrow.stages.specs.pruning import PruneSpec
from sparrow.training.checked_result import require_gradient, require_scalar
from sparrow.training.loop import CurveRow, Hooks, Step, train

TRACE_COLUMNS = ["epoch", "name", "value"]
LOOP_HOOKS = ("loss", "after_backward", "after_step", "epoch", "trace", "finished")
"""The methods of a pruner that only the training loop calls."""


def _failed(message: str, trace: Path, **arguments: Any) -> None:
    failed_training(message, "pruned", **arguments)
    write_csv(trace, TRACE_COLUMNS, [])


@opened(PruneSpec)
@recorded(_failed)
def prune(parent: Path, data: Path, output: Path, curve: Path, trace: Path, cost: Path, spec: PruneSpec) -> str | None:
    """Prune `parent` by one method at one ratio. Returns the method's warning, if it has one.

    Filters that it removes are cut out at the end, also by a method that trains, where removed ones may come back until then.

    Raises SparrowError if the method's masks do not have the ratio, or if the ratio leaves a layer no filter, NetworkError if
    filters cannot be cut out.
    """
    with interruption.deferred(), resumable(output, spec.model_dump(), parent, data) as resume, record_cost(cost):
        kind = spec.method["kind"]
        generator = seed_everything(spec.cell.seed, "prune", kind)
        device = pick_device()
        parts, about = training_data(data, device, spec.augmentation)
        before = checkpoint.load(parent, spec.model)
        require_data(parent, before.header, data, about)
        model = before.model.to(device)
        entry, params = catalogue.from_spec("methods", spec.method)
        name = f"methods.{kind}"
        pruner = require_pruner(entry.prepare(params, spec.ratio, generator), name)
        weights, layout = prunable_weights(model), Layout(model, about.shape)
        require_pattern(params, weights, kind)
        alive = {key: weight.detach() != 0 for key, weight in weights.items()}
        if pruner.budget != "weights":
            require_cuttable(model, about.shape)
            if line := shortage(params, layout.filters(weights), spec.ratio):
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
        rows, hooks = [], _PrunerHooks(pruner, name, model, weights, others, spec.method_threat)
        if params.needs != "nothing":
            assert spec.objective is not None, "its spec has one"
            assert spec.schedule is not None, "its spec has one"
            loss = loss_function(spec.objective, spec.threat, spec.nrs)
            # Of its own: what a method draws has no share in the order of the images.
            batches = torch.Generator().manual_seed(derive_seed(spec.cell.seed, "prune batches"))
            everything = [*optimised, *_learning_besides(others, model, weights)]
            hooks.learns = bool(everything)
            rows = train(
                model,
                loss,
                parts,
                spec.schedule,
                everything,
                batches,
                hooks,
                resume=resume,
                steps_of=params.steps_of,
                perturbs=perturbs(spec.objective),
                name=f"objectives.{spec.objective['kind']}",
            )
        masks = require_masks(pruner.end(weights), weights, name)
        raise_for(masks, weights, layout, spec.ratio, pruner.budget, kind, params)
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
        drawn = write_curve(curve, rows)
        write_csv(trace, TRACE_COLUMNS, hooks.trace)
        drawn["trace"] = sha256(trace)
        lines = [line for line in (pruner.warning(), off_ratio(params, masks)) if line]
        told = f"{name}: {'; '.join(lines)}" if lines else None
        pruned = checkpoint.Checkpoint(model, masks, header("pruned", spec, about, parent, told) | drawn)
        if pruner.budget != "weights":
            # For all that comes next, fine-tuning first. What masks do not hold is in the network that this was pruned from.
            pruned = at_physical_size(pruned, parts["validation"].images)
        checkpoint.save(output, pruned)
        if told:
            print(f"WARNING: {told}")
        return f"warning: {output}: {told}" if told else None


def _require_called(pruner: Pruner, kind: str) -> None:
    """Raise SparrowError if the pruner of a method that needs nothing, `kind`, has hooks of the training loop."""
    unused = [name for name in LOOP_HOOKS if getattr(type(pruner), name) is not getattr(Pruner, name)]
    if unused:
        raise SparrowError(
            f"methods.{kind}: its pruner defines `{unused[0]}`, which nothing calls, since Params.needs is 'nothing'; "
            "valid: 'batches' or 'schedule'"
        )


class _PrunerHooks(Hooks):
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


def _learning_besides(others: str, model: nn.Module, weights: Weights) -> list[Tensor]:
    """The parameters besides `weights` that learn while the method trains: all, those of norms, or none, as `others` says."""
    if others == "all":
        return [parameter for name, parameter in model.named_parameters() if name not in weights]
    return norm_parameters(model) if others == "norms" else []
