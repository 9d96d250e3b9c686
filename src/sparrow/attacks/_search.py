"""A network to search with, and the same network to believe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from sparrow.attacks._active import laid_out, logits
from sparrow.frozen import frozen
from sparrow.models._prunable import PRUNABLE


class Search(nn.Module):
    """Looks at a view of the network `full`, such as `frozen` gives."""

    def __init__(self, full: nn.Module, view: nn.Module | None = None) -> None:
        super().__init__()
        self.full, self.view = full, full if view is None else view

    def forward(self, images: Tensor) -> Tensor:
        return self.view(images)


class Lowered(Search):
    """Computes in bfloat16, but for its first layer: of a pixel that changes by eps, eight bits might show nothing.

    Logits are float32.
    """

    def forward(self, images: Tensor) -> Tensor:
        first = _first_in_full(self.full) if self.view is self.full else nullcontext()
        with first, torch.autocast(images.device.type, torch.bfloat16):
            return self.view(images).float()


@contextmanager
def _first_in_full(model: nn.Module) -> Iterator[None]:
    """Have the first layer of `model` leave autocast."""
    first = next((layer for layer in model.modules() if isinstance(layer, PRUNABLE)), None)
    left = ExitStack()

    def enter(layer: nn.Module, arguments: tuple[Tensor]) -> None:
        left.enter_context(torch.autocast(arguments[0].device.type, enabled=False))

    def leave(layer: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
        left.close()

    hooks = [first.register_forward_pre_hook(enter), first.register_forward_hook(leave)] if first is not None else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def searching(model: nn.Module, images: Tensor, precision: str) -> Iterator[Search]:
    """`model`, to be looked at often through images like `images`, in this precision."""
    images = laid_out(images)
    if precision == "float32":
        with frozen(model, images) as view:
            yield Search(model, view)
    else:
        with torch.autocast(images.device.type, getattr(torch, precision)), frozen(model, images, first_in_full=True) as view:
            prepared = Lowered(model, view)
            with torch.autocast(images.device.type, enabled=False):
                yield prepared


def confirmed(model: nn.Module, images: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """Which of the images (n,) that `model` calls `wrong` its full network misclassifies, too."""
    if not isinstance(model, Search) or not bool(wrong.any()):
        return wrong
    sure = wrong.clone()
    sure[wrong] = logits(model.full, images[wrong]).argmax(dim=1) != labels[wrong]
    return sure
