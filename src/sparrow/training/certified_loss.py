"""What objectives that train on verified bounds share."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.jobs.costs import METER
from sparrow.networks.prunable import NORMS
from sparrow.settings import Threat
from sparrow.training import inner_replay
from sparrow.verification import bounds, chain_bounds
from sparrow.verification.bounded_network import BoundedNetwork
from sparrow.verification.guard import OccasionalCheck


class Bounds:
    """Lower bounds on the margins of a network that is being trained: Sparrow's own for plain networks, else auto_LiRPA's."""

    def __init__(self, options: dict | None = None) -> None:
        """`options` are further ones of auto_LiRPA's BoundedModule, which then bounds plain networks, too."""
        self._options = options
        self._guard = OccasionalCheck()
        self._views: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[bool, bool], BoundedNetwork]] = (
            weakref.WeakKeyDictionary()
        )

    def margins(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        method: str,
        normalised_by: Tensor | None = None,
    ) -> Tensor:
        """Lower bounds (n, classes - 1) on the margins, differentiable in the weights of `model`; float32 always.

        Batch norms that train take the statistics of the images `normalised_by`; of `images`, if None.
        """
        if layers := self._own_layers(model, threat, method):
            with _full_precision(images):
                both = chain_bounds.margins(layers, images, labels, threat, method == "CROWN-IBP", normalised_by)
                lower = METER.watch(both[1])
        else:
            lower = self._of_view(model, images, labels, threat, method, normalised_by)
        with _full_precision(images), inner_replay.unrecorded():
            self._guard.check(method, model, images, labels, lower, threat, normalised_by)
        return lower

    def mixed(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, beta: float) -> Tensor:
        """`beta` times the margins by CROWN-IBP and `1 - beta` times those by IBP, each computed only if it counts."""
        if beta in (0, 1):
            return self.margins(model, images, labels, threat, "CROWN-IBP" if beta else "IBP")
        if layers := self._own_layers(model, threat, "CROWN-IBP"):
            with _full_precision(images):
                loose, tight = map(METER.watch, chain_bounds.margins(layers, images, labels, threat, tight=True))
        else:
            tight, loose = (self._of_view(model, images, labels, threat, method) for method in ("CROWN-IBP", "IBP"))
        lower = beta * tight + (1 - beta) * loose
        with _full_precision(images), inner_replay.unrecorded():
            self._guard.check("the mixture of CROWN-IBP and IBP", model, images, labels, lower, threat)
        return lower

    def _own_layers(self, model: nn.Module, threat: Threat, method: str) -> list[chain_bounds.Layer] | None:
        """The layers of a network whose bound Sparrow computes itself; None, if auto_LiRPA has to."""
        known = threat.norm == "linf" and method in ("IBP", "CROWN-IBP") and not self._options
        return chain_bounds.chain(model) if known else None

    def _of_view(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        method: str,
        normalised_by: Tensor | None = None,
    ) -> Tensor:
        """The margins' lower bounds (n, classes - 1) by auto_LiRPA, whose view of the network takes long to make and is kept.

        Making it writes the weights back in place, so no graph over them may be waiting for its backward pass.
        """
        with _full_precision(images):
            learning = normalises_batches(model)
            mode, view = self._views.get(model, (None, None))
            if view is None or mode != (model.training, learning):
                # A view has running statistics of its own, as they were: those of batch norm move while the network trains.
                view = bounds.bounded(model, images, self._options)
                self._views[model] = (model.training, learning), view
            with bounds.flags_restored(model):
                view.train(model.training)
                if learning:
                    # Its batch norms take the statistics of the images that went through last.
                    view(images if normalised_by is None else normalised_by)
                else:
                    for node in view.modules():
                        node.training &= type(node) is not bounds.auto_lirpa().operators.BoundBatchNormalization
                final_shape: Any = view.final_shape
                with bounds.naming_unsupported_layer(model, images[:1].detach(), method):
                    return METER.watch(bounds.margins(view, images, labels, threat, final_shape[1], method))


def normalises_batches(model: nn.Module) -> bool:
    """Whether a batch norm of the network is in train mode."""
    return any(isinstance(layer, NORMS) and layer.training for layer in model.modules())


def _full_precision(images: Tensor) -> AbstractContextManager:
    """Autocast switched off: a bound that is rounded to eight bits bounds nothing, and auto_LiRPA does not know of autocast."""
    return torch.autocast(images.device.type, enabled=False)


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
    robust = worst_case(lower_margins(ramped))
    if kappa == 0:
        observe(model, images)
        return robust
    return kappa * functional.cross_entropy(model(images), labels) + (1 - kappa) * robust


def worst_case(lower: Tensor) -> Tensor:
    """The cross-entropy of the worst logits that lower bounds (n, classes - 1) on the margins leave; a scalar."""
    worst = functional.pad(-lower, (1, 0))
    return functional.cross_entropy(worst, worst.new_zeros(len(worst), dtype=torch.long))


def observe(model: nn.Module, images: Tensor) -> None:
    """Update the running statistics of batch norms in train mode by `images` (n, c, h, w), as a benign loss would."""
    if normalises_batches(model):
        with torch.no_grad():
            model(images)
