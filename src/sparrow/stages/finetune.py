"""Fine-tune a pruned network, its masks held fixed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from sparrow.files import checkpoint
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._origin import header, require_data
from sparrow.stages._training import failed_training, objective, training_data, write_curve
from sparrow.training.loop import Hooks, Step, train
from sparrow.training.schedule import Schedule


class Masked(Hooks):
    """Keeps what is pruned at zero, and out of the gradient's norm."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self._pairs = [(parameters[name], mask) for name, mask in masks.items()]

    def after_backward(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            parameter.grad.mul_(mask)

    def after_step(self, step: Step) -> None:
        for parameter, mask in self._pairs:
            parameter.data.mul_(mask)


@recorded(partial(failed_training, stage="finetuned"))
def finetune(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: dict) -> None:
    """Train what `parent`'s masks have left on `spec["objective"]` under `spec["schedule"]`, the same for every method."""
    with interruption.deferred(), resumable(output, spec, parent, data) as resume, record_cost(cost):
        generator = seed_everything(spec["cell"]["seed"], "finetune")
        device = pick_device()
        parts, about = training_data(data, device, spec)
        pruned = checkpoint.load(parent, spec["model"])
        require_data(parent, pruned.header, data, about)
        model = pruned.model.to(device)
        masks = {name: mask.to(device) for name, mask in pruned.masks.items()}
        schedule = Schedule(**spec["schedule"])
        hooks = Masked(model, masks)
        rows = train(model, objective(spec), parts, schedule, list(model.parameters()), generator, hooks, resume=resume)
        drawn = write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, header("finetuned", spec, about, parent) | drawn))
