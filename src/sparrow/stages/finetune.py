"""Fine-tune a pruned network, its masks held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sparrow.files import checkpoint
from sparrow.files.headers import sha256
from sparrow.files.specs import opened
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._held_masks import HeldMasks
from sparrow.stages._origin import header, require_data
from sparrow.stages._training import failed_training, loss_function, penalty, perturbs, training_data, write_curve
from sparrow.stages.specs.training import TrainingSpec
from sparrow.training.loop import train


@opened(TrainingSpec)
@recorded(partial(failed_training, stage="finetuned"))
def finetune(
    parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: TrainingSpec, teacher: Sequence[Path] = ()
) -> None:
    """Train what `parent`'s masks have left on its objective, under a schedule that is the same for every method.

    With `spec.distillation` it learns from the checkpoint in `teacher`, the only one there. Validation is by the objective.
    """
    with interruption.deferred(), resumable(output, spec.model_dump(), parent, data, *teacher) as resume, record_cost(cost):
        generator = seed_everything(spec.cell.seed, "finetune")
        device = pick_device()
        parts, about = training_data(data, device, spec.augmentation)
        pruned = checkpoint.load(parent, spec.model)
        require_data(parent, pruned.header, data, about)
        model = pruned.model.to(device)
        masks = {name: mask.to(device) for name, mask in pruned.masks.items()}
        whole = checkpoint.untrained(parent, pruned.header) if pruned.kept and spec.nrs else None
        minimised, origin = None, {}
        if spec.distillation is not None:
            (path,) = teacher
            known = checkpoint.load(path, spec.model)
            require_data(path, known.header, data, about)
            robust = perturbs(spec.objective), penalty(spec.nrs, spec.threat, whole)
            distilled = spec.distillation.load().Distilled
            minimised = distilled(spec.distillation, model, known.model.to(device), spec.threat, *robust)
            origin = {"teacher": sha256(path)}
        hooks = HeldMasks(model, masks, minimised)
        loss = loss_function(spec.objective, spec.threat, spec.nrs, whole)
        rows = train(model, loss, parts, spec.schedule, list(model.parameters()), generator, hooks, resume=resume)
        drawn = write_curve(curve, rows)
        own = header("finetuned", spec, about, parent) | drawn | origin
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, own, pruned.kept))
