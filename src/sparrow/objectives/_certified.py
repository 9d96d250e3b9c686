"""What objectives that train on verified bounds share."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.costs import METER
from sparrow.settings import Threat
from sparrow.verification import _bounds


class BoundedView:
    """Keeps auto_LiRPA's view of the network that is being trained, which takes long to make."""

    def __init__(self, options: dict | None = None) -> None:
        """`options` are further ones of auto_LiRPA's BoundedModule."""
        self._options = options
        self._views: weakref.WeakKeyDictionary[nn.Module, tuple[bool, nn.Module]] = weakref.WeakKeyDictionary()

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, method: str) -> Tensor:
        """Lower bounds (n, classes - 1) on the margins, differentiable in the weights of `model`; float32 always.

        Making the view writes the weights back in place, so no graph over them may be waiting for its backward pass.
        """
        # A bound that is rounded to eight bits bounds nothing, and auto_LiRPA does not know of autocast.
        with torch.autocast(images.device.type, enabled=False):
            mode, view = self._views.get(model, (None, None))
            if mode != model.training:
                # A view has running statistics of its own, as they were: those of batch norm move while the network trains.
                view = _bounds.bounded(model, images, self._options)
                self._views[model] = (model.training, view)
            with _bounds.flags_restored(model):
                view.train(model.training)
                return METER.watch(_bounds.margins(view, images, labels, threat, view.final_shape[1], method))


def mixture(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    progress: float,
    kappa: float,
    lower_margins: Callable[[Threat], Tensor],
) -> Tensor:
    """`kappa * CE(f(x), y) + (1 - kappa) * CE(worst logits, y)` at `progress * threat.eps`; benign where that is 0.

    `lower_margins(ramped threat)` gives bounds (n, classes - 1) on `logit[y] - logit[other]`. The worst logits relative to
    the label's own are 0 for the label and minus the bound for each other class.
    """
    if progress == 0 or kappa == 1:
        return functional.cross_entropy(model(images), labels)
    ramped = Threat(norm=threat.norm, eps=progress * threat.eps)
    worst = functional.pad(-lower_margins(ramped), (1, 0))
    robust = functional.cross_entropy(worst, torch.zeros_like(labels))
    return kappa * functional.cross_entropy(model(images), labels) + (1 - kappa) * robust
