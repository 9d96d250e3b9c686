"""Prune a dense network."""

from __future__ import annotations

from pathlib import Path

from sparrow import catalogue, checkpoint
from sparrow.costs import measured
from sparrow.errors import SparrowError
from sparrow.models._prunable import norm_parameters, prunable_weights
from sparrow.reproducible import derive_seed, pick_device, seed_everything
from sparrow.stages._training import objective, training_data, write_curve
from sparrow.training.loop import Hooks, train
from sparrow.training.provenance import header
from sparrow.training.schedule import Schedule


def prune(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: dict) -> None:
    """Prune `parent` by `spec["method"]` at `spec["ratio"]`.

    A method that learns does so on `spec["objective"]` under `spec["schedule"]`; for one that does not, these are absent.
    Raises SparrowError if the method's masks do not have the ratio.
    """
    with measured(cost):
        generator = seed_everything(spec["cell"]["seed"], "prune", spec["method"]["kind"])
        device = pick_device()
        parts, about = training_data(data, device)
        model = checkpoint.load(parent, spec["model"]).model.to(device)
        entry, params = catalogue.from_spec("methods", spec["method"])
        pruner = entry.prepare(params, spec["ratio"], generator)
        weights = prunable_weights(model)
        optimised = pruner.start(weights)
        rows = []
        if bool(optimised) != entry.LEARNS:
            raise SparrowError(f"methods.{spec['method']['kind']}: LEARNS does not say what its pruner's `start` does")
        if optimised:
            schedule = Schedule(**spec["schedule"])
            hooks = Hooks(lambda: pruner.after_backward(weights), lambda: pruner.after_step(weights))
            norms = norm_parameters(model) if pruner.trains_norms else []
            batches = generator.manual_seed(derive_seed(spec["cell"]["seed"], "prune batches"))
            rows = train(model, objective(spec), parts, schedule, [*optimised, *norms], batches, hooks)
        masks = {name: mask.detach() for name, mask in pruner.end(weights).items()}
        _check_masks(masks, weights, spec["ratio"], spec["method"]["kind"])
        for name, mask in masks.items():
            weights[name].data.mul_(mask)
        write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, header("pruned", spec, about, parent)))


def _check_masks(masks: dict, weights: dict, ratio: float, method: str) -> None:
    """Every layer has its mask, and the ratio is right to one weight a layer, whether divided by layer or not."""
    if masks.keys() != weights.keys():
        raise SparrowError(f"methods.{method}: gave masks for {sorted(masks)}, expected {sorted(weights)}")
    size = sum(mask.numel() for mask in masks.values())
    pruned = size - sum(int(mask.sum()) for mask in masks.values())
    if abs(pruned - ratio * size) > len(masks):
        raise SparrowError(
            f"methods.{method}: pruned {pruned} of {size} weights, the ratio {ratio:g} asks for {ratio * size:.0f}"
        )
