"""Pre-train a dense network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sparrow import catalogue
from sparrow.files import checkpoint
from sparrow.files.specs import opened
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._origin import header, require_data
from sparrow.stages._training import failed_training, initialise, loss_function, training_data, write_curve
from sparrow.stages.specs.training import TrainingSpec
from sparrow.training.loop import train


@opened(TrainingSpec)
@recorded(partial(failed_training, stage="dense"))
def pretrain(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: TrainingSpec) -> None:
    """Train the initial network `parent` on its objective, and write it to `output`, one row an epoch to `curve`."""
    with interruption.deferred(), resumable(output, spec.model_dump(), parent, data) as resume, record_cost(cost):
        device = pick_device()
        parts, about = training_data(data, device, spec.augmentation)
        initial = checkpoint.load(parent, spec.model)
        require_data(parent, initial.header, data, about)
        model = initial.model.to(device)
        generator = seed_everything(spec.cell.seed, "pretrain")
        # What training draws comes behind what drawing the weights took, as if both were one job.
        entry, params = catalogue.from_spec("models", spec.model)
        initialise(entry.build(params, about.shape, about.classes), spec.objective, spec.cell.seed)
        loss = loss_function(spec.objective, spec.threat, spec.nrs)
        rows = train(model, loss, parts, spec.schedule, list(model.parameters()), generator, resume=resume)
        drawn = write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, {}, header("dense", spec, about, parent) | drawn))
