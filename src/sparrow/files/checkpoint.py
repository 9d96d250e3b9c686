"""Checkpoints: one safetensors file with the weights, the masks and, in its header, their origin.

Tensors are named `weight/NAME` (the model's state dict) and `mask/NAME` (bool, True where kept; none for a dense
network). The header's one key, `sparrow`, holds JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import FORMAT, read, read_header
from sparrow.files.parentage import refuse_other_parents
from sparrow.networks.grafting import line_masks, regraft
from sparrow.networks.live_view import effective_size
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.reproducible import software_and_device


@dataclass(frozen=True)
class Checkpoint:
    """A network, its masks (empty for a dense one) and its header."""

    model: nn.Module
    masks: dict[str, Tensor]
    header: dict[str, Any] = field(default_factory=dict)


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
    tensors |= {f"mask/{name}": mask.cpu().contiguous().clone() for name, mask in checkpoint.masks.items()}
    weights, lines = prunable_weights(checkpoint.model), line_masks(checkpoint.model)
    shape = tuple(checkpoint.header["shape"])
    layout = Layout(checkpoint.model, shape)
    header = {
        "format": FORMAT,
        **software_and_device(next(checkpoint.model.parameters()).device),
        # Without lines, which stand for ReLUs: networks with and without them are of one size.
        "parameters": [name for name, _ in checkpoint.model.named_parameters() if name not in lines],
        "prunable": list(weights),
        "multiply_adds": layout.multiply_adds(weights),
        **checkpoint.header,
        # Last: the header passed in may come from another file, with the sizes and the digest of that one's tensors.
        **effective_size(checkpoint.model, shape, layout.positions),
        "content": content_digest(sorted(tensors.items())),
    }
    # One key only: safetensors writes several in no fixed order, and the same study has to give the same bytes.
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def load(path: Path, model: dict | None = None) -> Checkpoint:
    """The checkpoint in `path`, its network in eval mode on the CPU.

    `model` is the specification that is expected (`{"kind": ..., **parameters}`). Raises CheckpointError, naming the
    file, if it is truncated, changed, not Sparrow's, of another architecture, if a weight that its masks prune is not zero, or
    if the checkpoint that it was made from is no longer the same; NetworkError if a weight is not finite, or if the file
    records that there is no network, and why.
    """
    refuse_other_parents(path, read_header(path))
    header, tensors = read(path)
    if model is not None and header["model"] != model:
        raise CheckpointError(f"{path}: holds the model {header['model']}, expected {model}")
    try:
        entry, parameters = catalogue.from_spec("models", header["model"])
    except (ModuleNotFoundError, KeyError, ValueError):
        raise CheckpointError(f"{path}: holds a model that is not known here: {header['model']}") from None
    network = entry.build(parameters, tuple(header["shape"]), header["classes"])
    state = {name.removeprefix("weight/"): t for name, t in tensors.items() if name.startswith("weight/")}
    regraft(network, state)
    masks = {name.removeprefix("mask/"): t for name, t in tensors.items() if name.startswith("mask/")}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            kind = header["model"]["kind"]
            raise CheckpointError(
                f"{path}: not a {kind}: {name} is {found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
            )
    for name, mask in masks.items():
        if name not in state or mask.dtype != torch.bool or mask.shape != state[name].shape or state[name][~mask].any():
            raise CheckpointError(f"{path}: the mask of {name} does not fit its weights")
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise NetworkError(f"{path}: {name} holds values that are not finite")
    network.load_state_dict(state)
    return Checkpoint(network.eval(), masks, header)
