"""Networks that lost whole filters, at their physical size from then on."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sparrow.errors import NetworkError
from sparrow.files.checkpoint import Checkpoint
from sparrow.networks import cutting

IMAGES = 256
"""On how many images, at most, the logits of a network and of what is left of it are compared."""


def at_physical_size(whole: Checkpoint, images: Tensor) -> Checkpoint:
    """A checkpoint without the filters that its masks remove, if its logits on the first `images` (n, c, h, w) are the same.

    What cannot be cut out, or would give other logits, stays masked, and the header says why under `uncut`.
    """
    device = next(whole.model.parameters()).device
    try:
        found = cutting.cut(whole.model, tuple(whole.header["shape"]), whole.masks, images[:IMAGES])
    except NetworkError as error:
        print(f"stays masked: {error}")
        return replace(whole, header=whole.header | {"uncut": str(error)})
    header = whole.header
    if found.uncut is not None:
        print(f"stays masked in part: {found.uncut}")
        header = header | {"uncut": found.uncut}
    return Checkpoint(found.model.to(device), found.masks, header, found.kept)
