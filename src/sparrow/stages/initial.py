"""Draw the initial weights of a network, which dense and sparse training begin with alike."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sparrow import catalogue
from sparrow.files import checkpoint
from sparrow.files.specs import opened
from sparrow.jobs.costs import record_cost
from sparrow.networks.fit import require_fit
from sparrow.reproducible import pick_device, seed_everything, software_and_device
from sparrow.stages._failure import failed_checkpoint, recorded
from sparrow.stages._origin import header
from sparrow.stages._training import initialise
from sparrow.stages.specs.initial import InitialSpec


def _failed(message: str, output: Path, cost: Path, spec: InitialSpec) -> None:
    failed_checkpoint(message, output, **_header(spec) | software_and_device(pick_device()))


@opened(InitialSpec)
@recorded(_failed)
def initial(output: Path, cost: Path, spec: InitialSpec) -> None:
    """Write the network of `spec` as it is before any training. Its random numbers are those that pre-training begins with."""
    with record_cost(cost):
        seed_everything(spec.cell.seed, "pretrain")
        checkpoint.save(output, checkpoint.Checkpoint(drawn(spec), {}, _header(spec)))


def drawn(spec: InitialSpec) -> nn.Module:
    """The network with its initial weights, on the CPU, from torch's global generator.

    Raises SparrowError if it does not take the images of its data set, or gives other logits than one a class.
    """
    entry, params = catalogue.from_spec("models", spec.model)
    model = entry.build(params, spec.shape, spec.classes)
    require_fit(model, spec.shape, spec.classes, f"models.{spec.model['kind']}")
    if spec.initialisation:
        initialise(model, spec.initialisation, spec.cell.seed)
    return model


def _header(spec: InitialSpec) -> dict:
    about = {"shape": list(spec.shape), "classes": spec.classes, "data": None, "data_regime": None}
    return header("initial", spec, None) | about
