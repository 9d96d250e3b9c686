"""Losses whose results are checked: an objective that gives no scalar, or none with a gradient, is named in one line."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.jobs.no_gradient import loss_blamed, lost_gradient, passes_gradients
from sparrow.training.loss import CheckedLoss, Loss


def checked(loss: Loss, name: str) -> Loss:
    """`loss` of the entry `name` ("objectives.trades"), which raises SparrowError if it gives no scalar or no gradient.

    In eval mode it needs no gradient. Where the network hands none back, that is left to whoever asks for it.
    """
    if not callable(loss):
        raise SparrowError(f"{name}: prepare gives {described(loss)}, expected loss(model, images, labels, progress)")
    if isinstance(loss, CheckedLoss):
        return replace(loss, loss=checked(loss.loss, name))

    def result(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        with loss_blamed(name, model, images):
            found = loss(model, images, labels, progress)
        require_scalar(found, name)
        if model.training:
            require_gradient(found, name, model, images)
        return found

    return result


def require_scalar(loss: object, name: str) -> None:
    """Raise SparrowError, naming the entry `name`, unless `loss` is a tensor of one number."""
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        raise SparrowError(f"{name}: loss gives {described(loss)}, expected a scalar tensor")


def require_gradient(loss: Tensor, name: str, model: nn.Module, images: Tensor) -> None:
    """Raise SparrowError, naming the entry `name`, if `loss` has no gradient although the logits of `model` have one."""
    if not loss.requires_grad and passes_gradients(model, images):
        raise lost_gradient(name)


def described(value: object) -> str:
    """A value as part of a sentence: "None", "a float", "a tensor (32,) of float32"."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return f"a value of type {type(value).__name__}"
