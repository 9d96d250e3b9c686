"""The network to export, at its physical size or masked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sparrow.errors import CheckpointError
from sparrow.files import checkpoint, compact
from sparrow.files.headers import COMPACT_FORMAT, FORMAT, read_header, sha256


@dataclass(frozen=True)
class Network:
    """A plain network in eval mode, on the CPU, with its effective weights; its masks, if it has any, and its header."""

    path: Path
    model: nn.Module
    masks: dict[str, Tensor]
    header: dict[str, Any]
    cut: bool = False
    """Whether it is smaller than its architecture: filters were cut out of it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images, in [0, 1]."""
        return tuple(self.header["shape"])

    def origin(self) -> dict[str, Any]:
        """Metadata for an exported file: the SHA-256 of the network's file, and its cell, stage, model and data."""
        keys = ("cell", "stage", "model", "shape", "classes", "data_regime")
        return {"sha256": sha256(self.path), **{key: self.header[key] for key in keys}}


def load(path: Path, masked: bool = False) -> Network:
    """The network of a checkpoint; if `masked`, with zeros for the filters that were cut out of it. Raises CheckpointError or
    NetworkError, naming the file.

    Of a study made before there were such checkpoints, also that of a `compact.safetensors`, which lay beside a masked one.
    """
    if read_header(path, FORMAT, COMPACT_FORMAT)["format"] == COMPACT_FORMAT:
        if masked:
            raise CheckpointError(
                f"{path}: its filters were cut out, and which ones is not in it; give the masked checkpoint beside it"
            )
        model, header = compact.load(path)
        return Network(path, model, {}, header, cut=True)
    loaded = checkpoint.load(path)
    loaded = checkpoint.expanded(path, loaded) if masked else loaded
    return Network(path, loaded.model, loaded.masks, loaded.header, cut=bool(loaded.kept))
