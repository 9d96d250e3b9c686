"""Files of compact networks (pruned filters cut out): a checkpoint's tensor names, with smaller tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from sparrow import catalogue
from sparrow.errors import CheckpointError
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import COMPACT_FORMAT, read, read_header
from sparrow.files.parentage import refuse_other_parents


def save(path: Path, network: nn.Module, header: dict[str, Any]) -> None:
    """Write a compact network in one step; `header` is that of the checkpoint it was cut from, with the changed keys."""
    tensors = {f"weight/{name}": tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    header = header | {"format": COMPACT_FORMAT, "content": content_digest(sorted(tensors.items()))}
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def load(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network, in eval mode on the CPU, and its header.

    Raises CheckpointError, naming the file, if it is no compact network, or if the checkpoint that it was cut from has changed.
    """
    refuse_other_parents(path, read_header(path, COMPACT_FORMAT))
    header, tensors = read(path, expected=COMPACT_FORMAT)
    entry, parameters = catalogue.from_spec("models", header["model"])
    network = entry.build(parameters, tuple(header["shape"]), header["classes"])
    state = {name.removeprefix("weight/"): tensor for name, tensor in tensors.items()}
    for name, module in network.named_modules():
        _resize(module, {key: state[f"{name}.{key}"] for key in module._parameters if f"{name}.{key}" in state})
    for name, buffer in network.named_buffers():
        if name in state and state[name].shape != buffer.shape:
            owner, _, key = name.rpartition(".")
            network.get_submodule(owner).register_buffer(key, state[name])
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not a {header['model']['kind']} ({' '.join(str(error).split())})") from None
    return network.eval(), header


def _resize(module: nn.Module, tensors: dict) -> None:
    """Replace the parameters of `module` by `tensors` of other sizes, and adapt attributes such as `out_channels`."""
    for key, tensor in tensors.items():
        setattr(module, key, nn.Parameter(tensor.clone()))
    weight = tensors.get("weight")
    if weight is None:
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if 1 < module.groups == module.in_channels:  # Depthwise: filters per channel stay.
            module.groups = weight.shape[0] * module.groups // module.out_channels
        module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        module.num_features = len(weight)
