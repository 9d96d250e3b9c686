"""A fast form of a network to search with, and the full network that confirms what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from sparrow.adversary.batches import SMALLEST_BATCH, channels_last, logits, suitable_batch
from sparrow.inference.fixed_weights import fixed_weights
from sparrow.inference.matrix_convolution import matrix_convolutions
from sparrow.networks.prunable import PRUNABLE


class SearchNetwork(nn.Module):
    """The network `full`, evaluated through a faster equivalent `view` of it, such as `fixed_weights` yields; on a CPU
    `search_batch` images at a time."""

    def __init__(self, full: nn.Module, view: nn.Module | None = None, search_batch: int = SMALLEST_BATCH) -> None:
        super().__init__()
        self.full, self.view, self.search_batch = full, full if view is None else view, search_batch

    def forward(self, images: Tensor) -> Tensor:
        return self.view(images)


class Bfloat16Network(SearchNetwork):
    """As `SearchNetwork`, but computed in bfloat16; the logits are float32.

    The first layer gets images in their own precision: the eight bits of bfloat16 might not show a change by eps.
    """

    def forward(self, images: Tensor) -> Tensor:
        with _first_in_float32(self.full) if self.view is self.full else nullcontext(), precision_of(self, images.device):
            return self.view(images).float()


def _first(model: nn.Module) -> nn.Module | None:
    """The first convolution or linear layer; None if there is none."""
    return next((layer for layer in model.modules() if isinstance(layer, PRUNABLE)), None)


@contextmanager
def _first_in_float32(model: nn.Module) -> Iterator[None]:
    """While the context is active, the first layer of `model` computes without autocast."""
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
def search_network(model: nn.Module, images: Tensor, precision: Literal["float32", "bfloat16"]) -> Iterator[SearchNetwork]:
    """Yield a fast form of `model` for inputs shaped like `images`, in this precision; the weights must not change."""
    images = channels_last(images)
    with ExitStack() as stack:
        if precision == "float32":
            view = stack.enter_context(fixed_weights(model, images))
            view = stack.enter_context(matrix_convolutions(view, images))
            yield SearchNetwork(model, view, suitable_batch(view, images))
            return
        with torch.autocast(images.device.type, torch.bfloat16):
            view = stack.enter_context(fixed_weights(model, images, float32_layer=_first(model)))
            batch = suitable_batch(view, images)
        yield Bfloat16Network(model, view, batch)


def precision_of(model: nn.Module, device: torch.device) -> AbstractContextManager:
    """A context in which layers compute in the precision of `model`: autocast for a `Bfloat16Network`, else no change."""
    return torch.autocast(device.type, torch.bfloat16) if isinstance(model, Bfloat16Network) else nullcontext()


def confirmed(model: nn.Module, images: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """Which images (n,) of those that `model` misclassifies (`wrong`, n) its full network misclassifies, too."""
    if not isinstance(model, SearchNetwork) or not bool(wrong.any()):
        return wrong
    sure = wrong.clone()
    sure[wrong] = logits(model.full, images[wrong]).argmax(dim=1) != labels[wrong]
    return sure
