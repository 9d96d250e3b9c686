"""A network to search with, and the same network to believe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from sparrow.adversary.survivors import laid_out, logits
from sparrow.inference.fixed_weights import frozen
from sparrow.networks.prunable import PRUNABLE


class Search(nn.Module):
    """Looks at a view of the network `full`, such as `frozen` gives."""

    def __init__(self, full: nn.Module, view: nn.Module | None = None) -> None:
        super().__init__()
        self.full, self.view = full, full if view is None else view

    def forward(self, images: Tensor) -> Tensor:
        return self.view(images)


class Lowered(Search):
    """Computes in bfloat16, but its first layer sees images in full: of a change by eps, eight bits might show nothing.

    Logits are float32.
    """

    def forward(self, images: Tensor) -> Tensor:
        with _first_in_full(self.full) if self.view is self.full else nullcontext(), searched_in(self, images.device):
            return self.view(images).float()


def _first(model: nn.Module) -> nn.Module | None:
    """The first convolution or linear layer."""
    return next((layer for layer in model.modules() if isinstance(layer, PRUNABLE)), None)


@contextmanager
def _first_in_full(model: nn.Module) -> Iterator[None]:
    """Have the first layer of `model` leave autocast."""
    first = _first(model)
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
def searching(model: nn.Module, images: Tensor, precision: Literal["float32", "bfloat16"]) -> Iterator[Search]:
    """`model`, to be looked at often through images like `images`, in this precision."""
    images = laid_out(images)
    with ExitStack() as stack:
        if precision == "float32":
            yield Search(model, stack.enter_context(frozen(model, images)))
            return
        with torch.autocast(images.device.type, torch.bfloat16):
            view = stack.enter_context(frozen(model, images, in_full=_first(model)))
        yield Lowered(model, view)


def searched_in(model: nn.Module, device: torch.device) -> AbstractContextManager:
    """The precision in which a view of `model` is looked at."""
    return torch.autocast(device.type, torch.bfloat16) if isinstance(model, Lowered) else nullcontext()


def confirmed(model: nn.Module, images: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """Which of the images (n,) that `model` calls `wrong` its full network misclassifies, too."""
    if not isinstance(model, Search) or not bool(wrong.any()):
        return wrong
    sure = wrong.clone()
    sure[wrong] = logits(model.full, images[wrong]).argmax(dim=1) != labels[wrong]
    return sure
