"""Files of logits: those of one network on test images, as they are and under noise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparrow import radius
from sparrow.errors import CheckpointError
from sparrow.files import headers
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import OUTPUTS_FORMAT as FORMAT
from sparrow.files.paths import outputs_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """The logits of n images of K classes, in the order of the data set's test part: the first are a smaller sample."""

    indices: Tensor
    """The images' indices (n,) in the data set, int64."""
    logits: Tensor
    """Those of the images as they are (n, K), float32."""
    noise: dict[float, Tensor]
    """By radius in pixel units, those of the images under noise (draws, n, K): the same noise for all networks."""


def write(path: Path, found: Outputs, origin: dict[str, Any]) -> None:
    """Write logits; `origin` is added to the header."""
    tensors = {"indices": found.indices, "logits": found.logits}
    tensors |= {_noise(eps): logits for eps, logits in found.noise.items()}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    _save(path, tensors, {**origin, "content": content_digest(sorted(tensors.items()))})


def write_failure(path: Path, message: str, origin: dict[str, Any]) -> None:
    """Write a file without logits, whose header has the reason and `origin`."""
    _save(path, {}, {**origin, "failed": message})


def _save(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps({**header, "format": FORMAT}, sort_keys=True)})


def of_network(network: Path, config: dict[str, Any]) -> Outputs:
    """The logits of the checkpoint at a path, if they were written down under that `config`.

    Raises CheckpointError, naming the file, if they were not, if they are another network's, or if the file is damaged;
    InheritedError if it records that there are none, and why.
    """
    path = outputs_of(network)
    header, tensors = headers.read(path, expected=FORMAT)
    if header["network"] != headers.sha256(network):
        raise CheckpointError(f"{path}: logits of another network than lies there now; delete it and run again")
    if header["config"] != config:
        raise CheckpointError(f"{path}: made under another configuration than the study's; delete it and run again")
    noise = {eps: tensors[_noise(eps)] for eps in config.get("noise", ())}
    return Outputs(tensors["indices"], tensors["logits"], noise)


def _noise(eps: float) -> str:
    return f"noise/{radius.label(eps)}/logits"
