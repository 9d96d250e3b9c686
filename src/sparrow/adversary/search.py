"""A fast form of a network to search with, and the full network that confirms what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from sparrow.adversary.batches import LARGEST_BATCH, SMALLEST_BATCH, channels_last, logits, suitable_batch
from sparrow.adversary.margin import margin
from sparrow.inference.fixed_weights import fixed_weights
from sparrow.inference.matrix_convolution import matrix_convolutions
from sparrow.networks.live_view import live_view
from sparrow.networks.prunable import PRUNABLE

ROUNDING = 1e-4
"""How near to 0 a margin may be, in units of the largest logit or of 1 if that is more, for the full network to be asked."""


class SearchNetwork(nn.Module):
    """The network `full`, evaluated through a faster equivalent `view` of it, such as `fixed_weights` or `live_view` give;
    `search_batch` images at a time (see `batches`)."""

    def __init__(self, full: nn.Module, view: nn.Module | None = None, search_batch: int = SMALLEST_BATCH) -> None:
        super().__init__()
        self.full, self.view, self.search_batch = full, full if view is None else view, search_batch
        self.training = full.training

    def forward(self, images: Tensor) -> Tensor:
        return self.view(images)


class Bfloat16Network(SearchNetwork):
    """As `SearchNetwork`, but computed in bfloat16; the logits are float32.

    The first layer gets images in their own precision: the eight bits of bfloat16 might not show a change by eps. A `view` that
    does not see to that itself has layers as the full network does (`layered`).
    """

    def __init__(
        self, full: nn.Module, view: nn.Module | None = None, search_batch: int = SMALLEST_BATCH, layered: bool = False
    ) -> None:
        super().__init__(full, view, search_batch)
        self.layered = layered or self.view is full

    def forward(self, images: Tensor) -> Tensor:
        with _lowered_behind_first(self.view, images.device) if self.layered else precision_of(self, images.device):
            return self.view(images).float()


def _first(model: nn.Module) -> nn.Module | None:
    """The first convolution or linear layer; None if there is none."""
    return next((layer for layer in model.modules() if isinstance(layer, PRUNABLE)), None)


@contextmanager
def _lowered_behind_first(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While the context is active, one forward pass of `model` is in bfloat16 behind its first layer, and as it is until there:
    a normalisation before that layer must not lower images, either."""
    first = _first(model)
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))

        def lower(*given: object) -> None:
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))

        if first is None:
            lower()
        else:
            stack.callback(first.register_forward_hook(lower).remove)
        yield


@contextmanager
def search_network(
    model: nn.Module, images: Tensor, precision: Literal["float32", "bfloat16"], most: int = LARGEST_BATCH
) -> Iterator[SearchNetwork]:
    """Yield a fast form of `model` for inputs shaped like `images`, in this precision, of which searches evaluate at `most` so
    many at once; the weights must not change."""
    images, live = channels_last(images), live_view(model, images.shape[1:])
    with ExitStack() as stack:
        if precision == "float32":
            view = stack.enter_context(fixed_weights(live, images))
            view = stack.enter_context(matrix_convolutions(view, images))
            yield SearchNetwork(model, view, min(suitable_batch(view, images), most))
            return
        with torch.autocast(images.device.type, torch.bfloat16):
            view = stack.enter_context(fixed_weights(live, images, float32_layer=_first(live)))
            batch = min(suitable_batch(view, images), most)
        yield Bfloat16Network(model, view, batch, layered=view is live)


def live_network(model: nn.Module, images: Tensor) -> nn.Module:
    """`model` without the units that cannot matter, for inputs shaped like `images`; itself if it has none."""
    view = live_view(model, images.shape[1:])
    return model if view is model else SearchNetwork(model, view)


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


def misclassified(model: nn.Module, images: Tensor, labels: Tensor, output: Tensor) -> Tensor:
    """Which images (n,) `model` takes for other classes than `labels` (n,), by the logits (n, classes) that it gave.

    Where these are so close that rounding may decide, its full network does.
    """
    wrong = output.argmax(dim=1) != labels
    if not isinstance(model, SearchNetwork):
        return wrong
    close = margin(output, labels).abs() <= ROUNDING * output.abs().amax(dim=1).clamp_min(1)
    return torch.where(close, confirmed(model, images, labels, wrong & close), wrong)
