"""What it means that a loss has no gradient: a network that hands none back, or a loss that was cut off from the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError, SparrowError

NO_GRADIENT = ("does not require grad and does not have a grad_fn", "appears to not have been used in the graph")
"""What torch says where a loss does not depend on the images, or on the weights, by anything that has a gradient."""


@contextmanager
def without_gradient_named() -> Iterator[None]:
    """Turn torch's error about a network that hands no gradient back into a NetworkError."""
    try:
        yield
    except RuntimeError as error:
        if not _says_so(error):
            raise
        raise NetworkError(
            "it hands no gradient back to its images or weights: something in it has none, such as a comparison or detach()"
        ) from error


@contextmanager
def loss_blamed(name: str, model: nn.Module, images: Tensor) -> Iterator[None]:
    """Turn torch's error about a missing gradient into a SparrowError about the loss of the entry `name`.

    It stays as it is where `model` itself hands none back to `images` (n, c, h, w) or to its parameters.
    """
    try:
        yield
    except RuntimeError as error:
        if _says_so(error) and passes_gradients(model, images):
            raise lost_gradient(name) from error
        raise


def lost_gradient(name: str) -> SparrowError:
    """The error that the entry `name` ("objectives.trades") computes a loss without a gradient."""
    return SparrowError(f"{name}: its loss has no gradient (a `detach()`, a comparison, `torch.no_grad()`?)")


def passes_gradients(model: nn.Module, images: Tensor) -> bool:
    """Whether the logits of `model` have a gradient by `images` (n, c, h, w), and by a parameter if it has any that learn."""
    with torch.enable_grad():
        inputs = images.detach().clone().requires_grad_()
        # Not by a call, so that no hook counts these passes.
        logits = model.forward(inputs)
        if not logits.requires_grad:
            return False
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        by_images, *by_weights = torch.autograd.grad(logits.sum(), [inputs, *learning], allow_unused=True)
    return by_images is not None and (not learning or any(gradient is not None for gradient in by_weights))


def _says_so(error: RuntimeError) -> bool:
    return any(words in str(error) for words in NO_GRADIENT)
