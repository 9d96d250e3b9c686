"""What an attack's own file gives back, checked before it counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.files.digests import content_digest
from sparrow.training.checked_result import described


def usable(results: object, images: Tensor, by: str) -> tuple[Tensor, int]:
    """The images (n, c, h, w) that `by` ("attacks.pgd: attack") gave for `images`, in [0, 1], and how many were not finite.

    A pixel that is not finite is that of the image itself. Raises SparrowError for anything but float images of that shape.
    """
    if not isinstance(results, Tensor) or results.shape != images.shape or results.dtype != images.dtype:
        raise SparrowError(f"{by} gives {described(results)} for images {tuple(images.shape)}, expected {described(images)}")
    results, finite = results.detach(), results.isfinite()
    return torch.where(finite, results, images).clamp(0, 1), int((~finite.flatten(1).all(dim=1)).sum())


def parts_of(found: object, by: str) -> tuple[Tensor, list[str], Tensor | None]:
    """What the function `search` of an attack gave, once it is known to be three values. Raises SparrowError, naming `by`."""
    if not isinstance(found, tuple) or len(found) != 3:
        raise SparrowError(f"{by} gives {described(found)}, expected the images, who found each, and where the gradient was 0")
    return found


@contextmanager
def unchanged(model: nn.Module, by: str) -> Iterator[None]:
    """Raise SparrowError at the end if `model` is not what it was at the start: its weights, its buffers, or its mode."""
    before = _state(model)
    yield
    for what, old, new in zip(("weights", "mode (train or eval)"), before, _state(model), strict=True):
        if old != new:
            raise SparrowError(f"{by}: changes the network's {what}, which has to stay as it is; valid: work on a copy of it")


def _state(model: nn.Module) -> tuple[str, list[bool]]:
    tensors = sorted((name, tensor.detach().cpu()) for name, tensor in model.state_dict().items())
    return content_digest(tensors), [module.training for module in model.modules()]
