"""Files that only earlier versions have written, and that can still be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from sparrow.files.digests import content_digest
from sparrow.files.headers import COMPACT_FORMAT


def save_compact(path: Path, network: nn.Module, header: dict[str, Any]) -> None:
    """A compact network, cut from a masked checkpoint; `header` is that of the checkpoint, with the changed keys."""
    tensors = {f"weight/{name}": tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    header = header | {"format": COMPACT_FORMAT, "content": content_digest(sorted(tensors.items()))}
    save_file(tensors, path, {"sparrow": json.dumps(header, sort_keys=True)})
