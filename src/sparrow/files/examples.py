"""Files of adversarial examples: for each image that an attack broke, the nearest example that it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.files import content
from sparrow.files.atomic import replacing
from sparrow.files.digests import content_digest
from sparrow.files.headers import EXAMPLES_FORMAT as FORMAT
from sparrow.files.headers import read_header, sha256


def write(path: Path, indices: Tensor, images: Tensor, origin: dict[str, Any] | None = None) -> None:
    """Write images (n, c, h, w) and their indices in the data set (n,), sorted by these; `origin` is added to the header."""
    order = indices.argsort()
    tensors = {"indices": indices[order].cpu().contiguous(), "images": images[order].cpu().contiguous()}
    header = {**(origin or {}), "format": FORMAT, "content": content_digest(sorted(tensors.items()))}
    with replacing(path) as partial:
        save_file(tensors, partial, {"sparrow": json.dumps(header, sort_keys=True)})


def read(path: Path) -> tuple[Tensor, Tensor]:
    """Indices (n,), int64, and images (n, c, h, w), floats. Raises SparrowError, naming the file, if it is not valid."""
    header = read_header(path, FORMAT)
    try:
        with safe_open(path, framework="pt") as file:
            indices, images = file.get_tensor("indices"), file.get_tensor("images")
    except (SafetensorError, OSError) as error:
        raise SparrowError(f"{path}: not a readable file of adversarial examples ({error})") from None
    if (
        indices.dim() != 1
        or not images.dim()
        or len(indices) != len(images)
        or indices.dtype != torch.int64
        or not torch.is_floating_point(images)
    ):
        raise SparrowError(f"{path}: damaged: indices {tuple(indices.shape)} for images {tuple(images.shape)}")
    content.require(path, header["content"], content_digest([("images", images), ("indices", indices)]))
    return indices, images


def require_own(examples: Sequence[Path], network: Path) -> None:
    """Raise SparrowError if adversarial examples are of another network than `network`."""
    if not examples:
        return
    digest = sha256(network)
    for path in examples:
        named = read_header(path, FORMAT).get("network")
        if named != digest:
            raise SparrowError(
                f"{path}: adversarial examples of another {network} than lies there now (sha256 {digest[:12]}, their header "
                f"names {str(named)[:12]}); delete the file and run again"
            )


def found_of(path: Path, indices: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Whether `path` has an example of each of the `images` (n, c, h, w) with these `indices` (n,), and the examples; where it
    has none, the image itself. Raises SparrowError, naming the file, if it holds images of another shape."""
    known, found = read(path)
    by_index = {index: place for place, index in enumerate(known.tolist())}
    places = torch.tensor([by_index.get(index, -1) for index in indices.tolist()])
    there, examples = (places >= 0).to(images.device), images.clone()
    if there.any():
        if found.shape[1:] != images.shape[1:]:
            raise SparrowError(f"{path}: holds images of {tuple(found.shape[1:])}, expected {tuple(images.shape[1:])}")
        examples[there] = found[places[places >= 0]].to(images).nan_to_num()
    return there, examples
