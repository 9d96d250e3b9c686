"""Pre-train a dense network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sparrow import catalogue
from sparrow.files import checkpoint
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._origin import header
from sparrow.stages._training import failed_training, initialise, objective, training_data, write_curve
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule


@recorded(partial(failed_training, stage="dense"))
def pretrain(data: Path, output: Path, curve: Path, cost: Path, spec: dict) -> None:
    """Train the network `spec["model"]` from scratch on `spec["objective"]` under `spec["schedule"]`."""
    with interruption.deferred(), resumable(output, spec, data) as resume, record_cost(cost):
        generator = seed_everything(spec["cell"]["seed"], "pretrain")
        device = pick_device()
        parts, about = training_data(data, device, spec)
        entry, params = catalogue.from_spec("models", spec["model"])
        model = entry.build(params, about.shape, about.classes)
        initialise(spec, model)
        model.to(device)
        schedule = Schedule(**spec["schedule"])
        rows = train(model, objective(spec), parts, schedule, list(model.parameters()), generator, resume=resume)
        drawn = write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, {}, header("dense", spec, about) | drawn))
