"""Holds bounds against what they bound: the network itself, at points of the perturbation set.

A bound is as right as the library that computes it, on a network that its authors may never have seen. That the margin at a
point lies below its lower bound, or what enters a layer outside its range, takes a few forward passes to see, and refutes the
bound for good. (That none does proves nothing.)

The points are the image itself, two drawn evenly, two drawn as far out as the set goes, and the one that the margin's
gradient at the image points to. They are drawn by generators of their own, one for each image, seeded by the image's content:
neither its batch nor the subset nor any other random state changes them, in training and in a search as little as in a table.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from sparrow.adversary.geometry import direction
from sparrow.adversary.margin import margin
from sparrow.errors import NetworkError
from sparrow.networks.modes import eval_mode, modes_kept
from sparrow.settings import Threat

INSIDE = 1 - 1e-6
"""How far out points lie at most, in units of the radius: none shall leave an l2 ball by rounding."""
ROUNDING = 1e-4
"""By how much rounding may lift a bound over a margin, in units of the largest logit, or of 1 if that is more. On the
architectures here, untrained and trained, up to 3e-7 has been seen (a radius of 1e-7, float32)."""

FEW = 8
"""Images of a batch that are looked at while a network trains."""


def points(images: Tensor, threat: Threat) -> Tensor:
    """Points (4, n, c, h, w) of the perturbation sets of `images` (n, c, h, w): two inside, two corners or on the sphere.

    Those of an image are the same wherever it turns up. In l2 they may leave [0, 1], as the ball that is bounded does.
    """
    drawn = torch.stack([_directions(image, threat) for image in images.detach().cpu()], dim=1)
    return _moved(images.detach(), drawn.to(images), threat)


def _directions(image: Tensor, threat: Threat) -> Tensor:
    """Vectors (4, c, h, w) of the unit ball, the latter two of length 1."""
    content = image.to(torch.float32).contiguous().numpy().tobytes()
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1)
    if threat.norm == "linf":
        vectors = 2 * torch.rand(4, *image.shape, generator=generator) - 1
        vectors[2:] = torch.where(vectors[2:] < 0, -1.0, 1.0)
        return vectors
    vectors = torch.randn(4, image.numel(), generator=generator)
    radii = torch.rand(4, 1, generator=generator) ** (1 / image.numel())
    radii[2:] = 1
    return (vectors * radii / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)).view(4, *image.shape)


def _moved(images: Tensor, directions: Tensor, threat: Threat) -> Tensor:
    """`images` moved by the radius along `directions` of the unit ball; for linf, within [0, 1] as the box is."""
    if threat.norm == "linf":
        lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
        return torch.minimum(torch.maximum(images + threat.eps * directions, lower), upper)
    return images + INSIDE * threat.eps * directions


def spread(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, steepest: bool = True) -> Iterator[Tensor]:
    """The images (n, c, h, w), then points of their perturbation sets: one of each image four times, five if `steepest`."""
    yield images
    yield from points(images, threat)
    if steepest:
        with torch.enable_grad():
            moving = images.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(margin(model(moving), labels).sum(), moving)
        yield _moved(images.detach(), -direction(gradient.nan_to_num(), threat), threat)


def hold(
    by: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    bounds: Tensor,
    threat: Threat,
    suspects: Callable[[], str] = str,
    steepest: bool = True,
) -> None:
    """Hold the lower bounds (n,) that are given `by` name against the margins at points around `images` (n, c, h, w).

    Raises NetworkError if one is not a number, covers a point whose logits are none, or is above a margin by more than
    rounding; what `suspects` gives then ends its message. The model is looked at in eval mode, and left as it was; without
    `steepest`, no gradient is computed.
    """
    if bounds.isnan().any():
        raise NetworkError(f"{by} gave a bound that is not a number")
    worst, scale = torch.full_like(bounds, torch.inf), torch.ones_like(bounds)
    none = torch.zeros_like(bounds, dtype=torch.bool)
    with eval_mode(model), torch.no_grad():
        for there in spread(model, images, labels, threat, steepest):
            logits = model(there)
            margins = margin(logits, labels)
            none |= margins.isnan()
            worst = torch.minimum(worst, margins.nan_to_num(torch.inf).to(worst))
            scale = torch.maximum(scale, logits.abs().amax(dim=1).nan_to_num(torch.inf).to(scale))
    if (none & (bounds > -torch.inf)).any():
        raise NetworkError(f"{by} gave a bound that covers a point at which the network's logits are not numbers")
    excess = (bounds - worst) / (ROUNDING * scale)
    if (excess > 1).any():
        place = int(excess.argmax())
        found = f"{float(bounds[place]):.4g} against {float(worst[place]):.4g}"
        raise NetworkError(f"{by} gave a bound above the margin of a point that it covers ({found}){suspects()}")


def out_of_range(lower: Tensor, upper: Tensor, values: Tensor | None = None) -> bool:
    """Whether ranges from `lower` to `upper` are none, or `values` of the same shape leave them, by more than rounding."""
    values = (lower + upper) / 2 if values is None else values
    most = max(1.0, float(values.nan_to_num(0.0, 0.0, 0.0).abs().max()))
    room = ROUNDING * most
    # What is not a number is in no range.
    return not bool(((lower <= upper + room) & (values >= lower - room) & (values <= upper + room)).all())


@contextmanager
def statistics_of(model: nn.Module, images: Tensor) -> Iterator[bool]:
    """The network as it is in train mode on the batch `images`, but for any image, while the context lasts.

    Batch norms that train have the batch's statistics then, in eval mode; nothing moves. Yields whether that can be had: what
    drops out at random, and batch norms without running statistics, have no such likeness.
    """
    learning = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    random = any(isinstance(layer, _DropoutNd) and layer.training and layer.p for layer in model.modules())
    if random or not all(layer.track_running_stats for layer in learning):
        yield False
        return
    kept = [(layer, dict(layer._buffers), layer.momentum) for layer in learning]
    sizes: dict[nn.Module, int] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: sizes.update({layer: given[0].numel() // given[0].shape[1]}))
        for layer in learning
    ]
    try:
        with modes_kept(model), torch.no_grad():
            if learning:
                model.eval()
                for layer, buffers, _ in kept:
                    layer.train()
                    layer.momentum = 1.0
                    layer._buffers.update({name: tensor.clone() for name, tensor in buffers.items() if tensor is not None})
                model(images)
            for layer, size in sizes.items():
                layer.running_var.mul_((size - 1) / size)  # Normalised by the biased variance, it keeps the unbiased one.
            yield True
    finally:
        for hook in hooks:
            hook.remove()
        for layer, buffers, momentum in kept:
            layer._buffers.update(buffers)
            layer.momentum = momentum


class Occasionally:
    """Holds bounds of networks that train, each network's at its first, second, fourth, eighth ... time, for a few images.

    A layer that is bounded wrongly is so from the start, and looking more often would cost more than it could find.
    """

    def __init__(self) -> None:
        self._times: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()

    def hold(
        self,
        by: str,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        bounds: Tensor,
        threat: Threat,
        normalised_by: Tensor | None = None,
    ) -> None:
        """As `hold`, of bounds (n, classes - 1) in the model's own mode; `normalised_by` are the images of the statistics.

        A network of which two passes differ at random is not looked at, nor are bounds that are no numbers: training itself
        says that it has diverged.
        """
        self._times[model] = times = self._times.get(model, 0) + 1
        if times & (times - 1):
            return
        few = slice(0, FEW)
        with statistics_of(model, images if normalised_by is None else normalised_by) as possible:
            lower = bounds[few].detach().amin(dim=1)
            if possible and not lower.isnan().any():
                hold(by, model, images[few], labels[few], lower, threat, steepest=False)
