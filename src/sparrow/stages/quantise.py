"""Round a network's weights, and maybe train it on under rounding, its masks held fixed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparrow.data.store import Part
from sparrow.files import checkpoint
from sparrow.files.specs import opened
from sparrow.jobs import interruption, journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import ResumePoint, resumable
from sparrow.networks.grafting import line_masks
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.rounding import round_weights
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._mixed_precision import bits_of_layers, stored
from sparrow.stages._origin import header, require_data
from sparrow.stages._straight_through import StraightThrough
from sparrow.stages._training import failed_training, loss_function, training_data, write_curve
from sparrow.stages.specs.quantise import QuantiseSpec
from sparrow.training.loop import train


def _failed(message: str, spec: QuantiseSpec, **arguments: Any) -> None:
    failed_training(message, spec.stage, spec=spec, **arguments)


@opened(QuantiseSpec)
@recorded(_failed)
def quantise(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: QuantiseSpec) -> None:
    """Round the prunable weights of `parent`, a dense network or a pruned one, at whatever size it has.

    With a schedule it learns on, on its objective: each step is taken at the rounded weights.
    """
    with interruption.deferred(), resumable(output, spec.model_dump(), parent, data) as resume, record_cost(cost):
        generator = seed_everything(spec.cell.seed, "quantise")
        device = pick_device()
        parts, about = training_data(data, device, spec.augmentation)
        before = checkpoint.load(parent, spec.model)
        require_data(parent, before.header, data, about)
        model = before.model.to(device)
        masks = {name: mask.to(device) for name, mask in before.masks.items()}
        bits, rounding = _bits(model, parts["train"], about.classes, spec, resume)
        rows = []
        if spec.schedule is None:
            round_weights(model, bits)
        else:
            assert spec.objective is not None, "its spec has one"
            whole = checkpoint.untrained(parent, before.header) if before.kept and spec.nrs else None
            loss = loss_function(spec.objective, spec.threat, spec.nrs, whole)
            hooks = StraightThrough(model, masks | line_masks(model), bits)
            rows = train(model, loss, parts, spec.schedule, hooks.learning, generator, hooks, resume=resume)
        own = header(spec.stage, spec, about, parent) | rounding | write_curve(curve, rows)
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, own, before.kept))


def _bits(
    model: nn.Module, part: Part, classes: int, spec: QuantiseSpec, resume: ResumePoint
) -> tuple[dict[str, int], dict[str, Any]]:
    """Bits of each prunable weight, and what the header says of them."""
    weights = prunable_weights(model)
    if spec.mixed_precision is None:
        assert spec.bits is not None, "its spec has one of both"
        return dict.fromkeys(weights, spec.bits), {"bits": spec.bits}
    # A resume point holds one thing: what trains on has its training there, and chooses the same bits again.
    draws = torch.Generator()
    with nullcontext() if spec.schedule else journal.open_journal(resume, draws):
        found = bits_of_layers(model, part, classes, spec.mixed_precision, spec.cell.seed)
    sizes = [int(weight.count_nonzero()) for weight in weights.values()]
    # Where nothing is left, every layer has the fewest.
    average = stored(sizes, tuple(found.values())) / sum(sizes) if any(sizes) else min(found.values())
    return found, {"bits": average, "layer_bits": found}
