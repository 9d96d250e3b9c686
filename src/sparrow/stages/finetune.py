"""Fine-tune a pruned network, its masks held fixed."""

from __future__ import annotations

from pathlib import Path

from sparrow import checkpoint
from sparrow.costs import measured
from sparrow.models._prunable import prunable_weights
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._training import objective, training_data, write_curve
from sparrow.training.loop import Hooks, train
from sparrow.training.provenance import header
from sparrow.training.schedule import Schedule


def finetune(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: dict) -> None:
    """Train what `parent`'s masks have left on `spec["objective"]` under `spec["schedule"]`, the same for every method."""
    with measured(cost):
        generator = seed_everything(spec["cell"]["seed"], "finetune")
        device = pick_device()
        parts, about = training_data(data, device)
        pruned = checkpoint.load(parent, spec["model"])
        model = pruned.model.to(device)
        masks = {name: mask.to(device) for name, mask in pruned.masks.items()}
        weights = prunable_weights(model)

        def mask_gradients() -> None:
            for name, mask in masks.items():
                weights[name].grad.mul_(mask)

        def mask_weights() -> None:
            for name, mask in masks.items():
                weights[name].data.mul_(mask)

        hooks = Hooks(mask_gradients, mask_weights)
        schedule = Schedule(**spec["schedule"])
        rows = train(model, objective(spec), parts, schedule, list(model.parameters()), generator, hooks)
        write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, header("finetuned", spec, about, parent)))
