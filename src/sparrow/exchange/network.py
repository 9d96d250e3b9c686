"""The network that is to go elsewhere: a checkpoint, or one whose pruned filters have been cut out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sparrow.files import checkpoint, compact
from sparrow.files.headers import COMPACT_FORMAT, FORMAT, read_header, sha256


@dataclass(frozen=True)
class Network:
    """A plain network in eval mode, on the CPU, with its effective weights; its masks, if it has any, and its header."""

    path: Path
    model: nn.Module
    masks: dict[str, Tensor]
    header: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images, in [0, 1]."""
        return tuple(self.header["shape"])

    def origin(self) -> dict[str, Any]:
        """What to write beside its tensors elsewhere: which network of which file it is."""
        keys = ("cell", "stage", "model", "shape", "classes", "data_regime")
        return {"sha256": sha256(self.path), **{key: self.header[key] for key in keys}}


def load(path: Path) -> Network:
    """Read either kind. Raises CheckpointError or NetworkError, naming the file."""
    if read_header(path, FORMAT, COMPACT_FORMAT)["format"] == COMPACT_FORMAT:
        model, header = compact.load(path)
        return Network(path, model, {}, header)
    loaded = checkpoint.load(path)
    return Network(path, loaded.model, loaded.masks, loaded.header)
