"""Put lines in the place of unstable neurons of a fine-tuned network, and train it once more, its masks held fixed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from sparrow.data.store import Part
from sparrow.files import checkpoint
from sparrow.files.specs import opened
from sparrow.jobs import interruption
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.networks import grafting
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._failure import recorded
from sparrow.stages._held_masks import HeldMasks
from sparrow.stages._origin import header, require_data
from sparrow.stages._training import failed_training, loss_function, training_data, write_curve
from sparrow.stages.specs.graft import GraftSpec
from sparrow.training.loop import OwnRate, train
from sparrow.verification import bounds
from sparrow.verification.instability import instability


@opened(GraftSpec)
@recorded(partial(failed_training, stage="grafted"))
def graft(parent: Path, data: Path, output: Path, curve: Path, cost: Path, spec: GraftSpec) -> str | None:
    """Graft `parent`, and train weights and lines on its objective, the lines at a rate of their own without weight decay.

    The same for every method. Returns a line for the user if no neuron became a line.
    """
    with interruption.deferred(), resumable(output, spec.model_dump(), parent, data) as resume, record_cost(cost):
        generator = seed_everything(spec.cell.seed, "graft")
        device = pick_device()
        parts, about = training_data(data, device, spec.augmentation)
        finetuned = checkpoint.load(parent, spec.model)
        require_data(parent, finetuned.header, data, about)
        model = finetuned.model.to(device)
        # A resumed job finds the same neurons again: they are those of the parent.
        whole = checkpoint.untrained(parent, finetuned.header) if finetuned.kept else None
        number, neurons = _graft(model, parts["train"].first(spec.images), spec, about.classes, whole)
        masks = {name: mask.to(device) for name, mask in finetuned.masks.items()}
        lines: list[Tensor] = [model.get_parameter(name) for name in grafting.line_masks(model)]
        hooks = HeldMasks(model, masks | grafting.line_masks(model))
        loss = loss_function(spec.objective, spec.threat, spec.nrs, whole)
        rate = OwnRate(lines, spec.lr_lines)
        rows = train(
            model, loss, parts, spec.schedule, list(model.parameters()), generator, hooks, resume=resume, own_rate=rate
        )
        own = {"lines": number, "neurons": neurons} | write_curve(curve, rows)
        own |= header("grafted", spec, about, parent)
        checkpoint.save(output, checkpoint.Checkpoint(model, masks, own, finetuned.kept))
    why = f"none is unstable on its images, or a share of {spec.share:g} of {neurons} is less than one"
    return None if number else f"warning: {output}: no neuron became a line: {why}"


def _graft(model: nn.Module, part: Part, spec: GraftSpec, classes: int, whole: nn.Module | None) -> tuple[int, int]:
    """Replace neurons of `model` by lines, as the images of `part` say; the numbers of lines and of neurons.

    These are those of the `whole` architecture, if filters were cut out of it: of them the share is.
    """
    found = instability(model, part.images, part.labels, spec.bounded, classes, spec.schedule.batch_size, spec.memory_mb)
    neurons = sum(layer.numel() for layer in found.unstable.values())
    if whole is not None:
        neurons = sum(bounds.neurons(whole, part.first(1).images.cpu()))
    masks = grafting.chosen(found.unstable, found.magnitudes, found.images, int(neurons * spec.share))
    grafting.graft(model, masks, spec.slope, spec.intercept)
    number = sum(int(mask.sum()) for mask in masks.values())
    mostly = sum(int((2 * counts > found.images).sum()) for counts in found.unstable.values())
    print(
        f"{number} of {neurons} neurons are lines now; {mostly} were unstable on more than half of {found.images} images",
        flush=True,
    )
    return number, neurons
