"""Checkpoints: one safetensors file with the weights, the masks and, in its header, their origin.

Tensors are named `weight/NAME` (the model's state dict) and `mask/NAME` (bool, True where kept; none for a dense
network). A network that lost whole filters is there at its physical size: its weights and masks are those of what is left, and
`kept/DIMENSION/NAME` (bool) says which slices of the tensor that the architecture has these are. (Such a network was written
with zeros for its filters before, and can still be.) The header's one key, `sparrow`, holds JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files import _kept_filters as kept_filters
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import FORMAT, KEPT, MASK, full_shape, read, read_header
from sparrow.files.parentage import refuse_other_parents
from sparrow.networks import cutting
from sparrow.networks.cutting import Kept
from sparrow.networks.grafting import grafted_layers, line_masks, regraft
from sparrow.networks.live_view import effective_size
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.reproducible import software_and_device


@dataclass(frozen=True)
class Checkpoint:
    """A network, its masks (empty for a dense one), its header, and what it kept of filters (empty, if all are there)."""

    model: nn.Module
    masks: dict[str, Tensor]
    header: dict[str, Any] = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in one step: a killed job leaves no half-written file.

    Raises CheckpointError if a masked weight is not zero, NetworkError if a weight is not finite.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise NetworkError(f"{name} holds values that are not finite; training diverged, try a smaller lr")
    for name, mask in checkpoint.masks.items():
        revived = int(state[name][~mask.cpu()].count_nonzero())
        if revived:
            raise CheckpointError(f"{path}: {revived} pruned weights of {name} are not zero")
    tensors = {f"weight/{name}": tensor for name, tensor in state.items()}
    # Copies: filters that are removed together share one mask tensor, which safetensors refuses to save under several names.
    tensors |= {f"{MASK}{name}": mask.cpu().contiguous().clone() for name, mask in checkpoint.masks.items()}
    tensors |= {f"{KEPT}{dim}/{name}": kept for name, slices in checkpoint.kept.items() for dim, kept in slices.items()}
    weights, lines = prunable_weights(checkpoint.model), line_masks(checkpoint.model)
    shape = tuple(checkpoint.header["shape"])
    layout = Layout(checkpoint.model, shape)
    whole = {
        name: layout.positions[name] * math.prod(full_shape(weight.shape, checkpoint.kept.get(name, {})))
        for name, weight in weights.items()
    }
    # Without lines, which stand for ReLUs: networks with and without them are of one size.
    parameters = {name: parameter.numel() for name, parameter in checkpoint.model.named_parameters() if name not in lines}
    left = {"parameters_left": sum(parameters.values()), "multiply_adds_left": layout.multiply_adds(weights)}
    header = {
        "format": FORMAT,
        **software_and_device(next(checkpoint.model.parameters()).device),
        "parameters": list(parameters),
        "prunable": list(weights),
        "multiply_adds": sum(whole.values()),
        **checkpoint.header,
        # Last: the header passed in may come from another file, with the sizes and the digest of that one's tensors.
        **(left if checkpoint.masks else {}),
        **effective_size(checkpoint.model, shape, layout.positions),
        "content": content_digest(sorted(tensors.items())),
    }
    # One key only: safetensors writes several in no fixed order, and the same study has to give the same bytes.
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def load(path: Path, model: dict | None = None) -> Checkpoint:
    """The checkpoint in `path`, its network in eval mode on the CPU.

    `model` is the specification that is expected (`{"kind": ..., **parameters}`). Raises CheckpointError, naming the
    file, if it is truncated, changed, not Sparrow's, of another architecture, if a weight that its masks prune is not zero, if
    its size is not what it says to have kept and what its masks leave, or if the checkpoint that it was made from is no longer
    the same; NetworkError if a weight is not finite, or if the file records that there is no network, and why.
    """
    refuse_other_parents(path, read_header(path))
    header, tensors = read(path)
    if model is not None and header["model"] != model:
        raise CheckpointError(f"{path}: holds the model {header['model']}, expected {model}")
    network = _built(path, header)
    whole, kept = network, kept_filters.of(path, tensors, network)
    network = cutting.narrowed(whole, kept) if kept else whole
    state = {name.removeprefix("weight/"): t for name, t in tensors.items() if name.startswith("weight/")}
    regraft(network, state)
    masks = {name.removeprefix(MASK): t for name, t in tensors.items() if name.startswith(MASK)}
    kind = header["model"]["kind"]
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            by = f" by what it kept of the {kind}'s filters" if kept else ""
            raise CheckpointError(
                f"{path}: not a {kind}: {name} is {found.get(name, 'missing')}, expected "
                f"{expected.get(name, 'no such tensor')}{by}"
            )
    for name, mask in masks.items():
        if name not in state or mask.dtype != torch.bool or mask.shape != state[name].shape or state[name][~mask].any():
            raise CheckpointError(f"{path}: the mask of {name} does not fit its weights")
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise NetworkError(f"{path}: {name} holds values that are not finite")
    network.load_state_dict(state)
    kept_filters.require_own_size(path, network.eval(), header, kept)
    if kept:
        kept_filters.require_same_as_masks(path, whole, header, masks, kept)
    return Checkpoint(network.eval(), masks, header, kept)


def expanded(path: Path, checkpoint: Checkpoint) -> Checkpoint:
    """The masked twin of the network in `path`, with zeros for the filters that it lost; itself, if none was cut out.

    Raises NetworkError for a grafted network: what was cut out of it had no ReLU for which it could have a line.
    """
    if not checkpoint.kept:
        return checkpoint
    if grafted_layers(checkpoint.model):
        raise NetworkError(f"{path}: has lines for the ReLUs that are left, and none for those of the filters that it lost")
    twin = cutting.expanded(checkpoint.model, untrained(path, checkpoint.header), checkpoint.kept)
    return replace(checkpoint, model=twin, masks=cutting.expanded_masks(checkpoint.masks, checkpoint.kept), kept={})


def untrained(path: Path, header: dict[str, Any]) -> nn.Module:
    """A network of the architecture of the one in `path`, in eval mode, whatever that lost; no random number is used up."""
    with torch.random.fork_rng(devices=[]):
        return _built(path, header).eval()


def _built(path: Path, header: dict[str, Any]) -> nn.Module:
    """The network of a header's architecture, as it is built. Raises CheckpointError if that is not known here."""
    try:
        entry, parameters = catalogue.from_spec("models", header["model"])
    except (ModuleNotFoundError, KeyError, ValueError):
        raise CheckpointError(f"{path}: holds a model that is not known here: {header['model']}") from None
    return entry.build(parameters, tuple(header["shape"]), header["classes"])
