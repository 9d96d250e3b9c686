"""Files of compact networks, which studies have made beside masked checkpoints: a copy of these with its filters cut out.

A checkpoint's tensor names, with smaller tensors. Nothing writes them any more; they can still be exported and looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sparrow import catalogue
from sparrow.errors import CheckpointError
from sparrow.files.headers import COMPACT_FORMAT, read, read_header
from sparrow.files.parentage import refuse_other_parents
from sparrow.networks.cutting import count_anew


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
    if "weight" in tensors:
        count_anew(module)
