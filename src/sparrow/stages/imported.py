"""Take over a third party's network as a checkpoint of the study: nothing is trained, everything is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from sparrow import catalogue
from sparrow.data.store import read
from sparrow.exchange import fit, keymap, state_dict
from sparrow.exchange.recognition import recognise
from sparrow.files import checkpoint
from sparrow.files.headers import sha256
from sparrow.files.specs import opened
from sparrow.stages._origin import header
from sparrow.stages._physical_size import at_physical_size
from sparrow.stages.specs.imported import ImportSpec


@opened(ImportSpec)
def import_checkpoint(file: Path, data: Path, output: Path, spec: ImportSpec) -> str:
    """Write the network in `file` as the checkpoint `output`. Returns a warning if it classifies few images of `data` rightly.

    Its parent is nobody's: what it was made from is not known here. Raises CheckpointError if it is not what
    the study says.
    """
    validation, about = read(data, "validation")
    network, fitted, place = examine(file, spec, about.shape, about.classes)
    found = recognise(network, validation, about)
    lines = [f"{file}: read from {place or 'its top'}", *fitted.notes, *found.lines, f"pruned share: {fitted.ratio:.4f}"]
    print("\n".join(lines))
    origin = {"file": spec.imported.file, "sha256": sha256(file)}
    # On which images it was trained is not known here, either.
    own = header(spec.stage, spec, about) | {"imported": origin, "data_regime": "imported"}
    taken = checkpoint.Checkpoint(network, fitted.masks, own)
    if fitted.masks and spec.imported.granularity == "filter":
        taken = at_physical_size(taken, validation.images)
    checkpoint.save(output, taken)
    # What a network recognises before it is fine-tuned says little of where it comes from.
    return f"warning: {output}: {found.warning}" if found.warning and spec.stage != "pruned" else ""


def examine(file: Path, spec: ImportSpec, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, fit.Fitted, str]:
    """The network that `file` holds, how it fits, and where in the file it lies. Raises CheckpointError if it does not fit."""
    about, model = spec.imported, spec.model
    names = keymap.load(about.map)
    if names:
        keymap.require_model(names, about.map, model["kind"])
    found = state_dict.read(file, about.key)
    entry, parameters = catalogue.from_spec("models", model)
    network = entry.build(parameters, shape, classes).eval()
    target = fit.Target(model["kind"], shape, spec.cell.ratio, about.granularity, about.allow_ratio)
    fitted = fit.fit(file, found.tensors, network, target, names, found.normalised)
    return network, replace(fitted, notes=[*found.unread, *fitted.notes]), found.place
