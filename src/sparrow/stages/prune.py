"""Prune a network: a dense one or, for a method that prunes before or during training, an initial one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparrow import catalogue
from sparrow.files import checkpoint
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import sha256
from sparrow.files.specs import opened
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._mask_check import off_ratio
from sparrow.stages._origin import header, require_data
from sparrow.stages._physical_size import at_physical_size
from sparrow.stages._training import failed_training, loss_function, perturbs, training_data, write_curve
from sparrow.stages.pruned_network import How, Training, pruned
from sparrow.stages.specs.pruning import PruneSpec

TRACE_COLUMNS = ["epoch", "name", "value"]


def _failed(message: str, trace: Path, **arguments: Any) -> None:
    failed_training(message, "pruned", **arguments)
    write_csv(trace, TRACE_COLUMNS, [])


@opened(PruneSpec)
@recorded(_failed)
def prune(parent: Path, data: Path, output: Path, curve: Path, trace: Path, cost: Path, spec: PruneSpec) -> str | None:
    """Prune `parent` by one method at one ratio. Returns the method's warning, if it has one.

    Filters that it removes are cut out at the end, also by a method that trains, where removed ones may come back until then.

    Raises SparrowError if the method's masks do not have the ratio, or if the ratio leaves a layer no filter, NetworkError if
    it is not known which layers share filters.
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
        training = None
        if params.needs != "nothing":
            assert spec.objective is not None, "its spec has one"
            assert spec.schedule is not None, "its spec has one"
            loss = loss_function(spec.objective, spec.threat, spec.nrs)
            training = Training(loss, spec.schedule, spec.objective["kind"], perturbs(spec.objective))
        how = How(kind, entry, params, spec.ratio, spec.cell.seed, spec.method_threat)
        masks, rows, traced, pruner = pruned(model, about.shape, parts, how, training, generator, resume)
        drawn = write_curve(curve, rows)
        write_csv(trace, TRACE_COLUMNS, traced)
        drawn["trace"] = sha256(trace)
        lines = [line for line in (pruner.warning(), off_ratio(params, masks)) if line]
        told = f"{how.name}: {'; '.join(lines)}" if lines else None
        result = checkpoint.Checkpoint(model, masks, header("pruned", spec, about, parent, told) | drawn)
        if pruner.budget != "weights":
            # For all that comes next, fine-tuning first. What masks do not hold is in the network that this was pruned from.
            result = at_physical_size(result, parts["validation"].images)
        checkpoint.save(output, result)
        if told:
            print(f"WARNING: {told}")
        return f"warning: {output}: {told}" if told else None
