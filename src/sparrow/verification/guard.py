"""Checks of bounds against the network itself, at points of the perturbation set.

A bound is as right as the library that computes it, on a network that its authors may never have seen. A few forward passes
show whether the margin at a point is below its lower bound, or the input of a layer outside its range: that refutes the bound
for good. (That no point does proves nothing.)

The points are the image itself, two drawn uniformly, two drawn as far out as the set goes, and the one that the margin's
gradient at the image points to. They are drawn by generators of their own, one for each image, seeded by the image's content:
they depend neither on its batch, nor on the subset, nor on any other random state, be it in training, in a search or in a
table.
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
from sparrow.networks.modes import eval_mode, modes_restored
from sparrow.settings import Threat

LARGEST_LENGTH = 1 - 1e-6
"""Largest distance of a point from its image, in units of the radius: rounding must not move it out of an l2 ball."""
ROUNDING = 1e-4
"""How far rounding may lift a bound above a margin, in units of the largest logit, or of 1 if that is more. On the
architectures here, untrained and trained, up to 3e-7 has been measured (a radius of 1e-7, float32)."""

CHECKED_IMAGES = 8
"""Images of a batch that are checked while a network trains."""


def random_points(images: Tensor, threat: Threat) -> Tensor:
    """Points (4, n, c, h, w) of the perturbation sets of `images` (n, c, h, w): two inside, two corners or on the sphere.

    Those of an image depend on nothing but its content. In l2 they may leave [0, 1], as the ball that is bounded does.
    """
    drawn = torch.stack([_directions(image, threat) for image in images.detach().cpu()], dim=1)
    return _moved(images.detach(), drawn.to(images), threat)


def _directions(image: Tensor, threat: Threat) -> Tensor:
    """Vectors (4, c, h, w) of the unit ball in the threat's norm, the latter two of length 1."""
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
    return images + LARGEST_LENGTH * threat.eps * directions


def probes(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, steepest: bool = True) -> Iterator[Tensor]:
    """Yield the images (n, c, h, w), then four times one point of each image's perturbation set; five times if `steepest`."""
    yield images
    yield from random_points(images, threat)
    if steepest:
        with torch.enable_grad():
            moving = images.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(margin(model(moving), labels).sum(), moving)
        yield _moved(images.detach(), -direction(gradient.nan_to_num(), threat), threat)


def check(
    by: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    bounds: Tensor,
    threat: Threat,
    diagnosis: Callable[[], str] = str,
    steepest: bool = True,
) -> None:
    """Raise NetworkError if a lower bound in `bounds` (n,) is refuted by the margin of `model` at a point around its image.

    `images` are (n, c, h, w); `by` names the method in the message, and the text of `diagnosis()` ends it. A bound is refuted
    if it is NaN, if it is above -inf and covers a point with a NaN margin, or if it is above a margin by more than rounding.
    The model is evaluated in eval mode, and left as it was; no gradient is computed without `steepest`.
    """
    if bounds.isnan().any():
        raise NetworkError(f"{by} gave a bound that is not a number")
    worst, scale = torch.full_like(bounds, torch.inf), torch.ones_like(bounds)
    undefined = torch.zeros_like(bounds, dtype=torch.bool)
    with eval_mode(model), torch.no_grad():
        for there in probes(model, images, labels, threat, steepest):
            logits = model(there)
            margins = margin(logits, labels)
            undefined |= margins.isnan()
            worst = torch.minimum(worst, margins.nan_to_num(torch.inf).to(worst))
            scale = torch.maximum(scale, logits.abs().amax(dim=1).nan_to_num(torch.inf).to(scale))
    if (undefined & (bounds > -torch.inf)).any():
        raise NetworkError(f"{by} gave a bound that covers a point at which the network's logits are not numbers")
    excess = (bounds - worst) / (ROUNDING * scale)
    if (excess > 1).any():
        place = int(excess.argmax())
        found = f"{float(bounds[place]):.4g} against {float(worst[place]):.4g}"
        raise NetworkError(f"{by} gave a bound above the margin of a point that it covers ({found}){diagnosis()}")


def out_of_range(lower: Tensor, upper: Tensor, values: Tensor | None = None) -> bool:
    """Whether, by more than rounding, a bound in `lower` is above that in `upper`, or one of `values` (same shape) outside."""
    values = (lower + upper) / 2 if values is None else values
    most = max(1.0, float(values.nan_to_num(0.0, 0.0, 0.0).abs().max()))
    room = ROUNDING * most
    # NaN is outside any range.
    return not bool(((lower <= upper + room) & (values >= lower - room) & (values <= upper + room)).all())


@contextmanager
def statistics_of(model: nn.Module, images: Tensor) -> Iterator[bool]:
    """While the context is active, `model` computes for any image what it computes in train mode for one of the batch `images`.

    Batch norms that train are in eval mode with the batch's statistics; afterwards all is as it was. Yields False, and changes
    nothing, where that is impossible: with dropout, and with batch norms without running statistics.
    """
    learning = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    random = any(isinstance(layer, _DropoutNd) and layer.training and layer.p for layer in model.modules())
    if random or not all(layer.track_running_stats for layer in learning):
        yield False
        return
    kept = [(layer, dict(layer._buffers), layer.momentum) for layer in learning]
    sizes: dict[_BatchNorm, int] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: sizes.update({layer: given[0].numel() // given[0].shape[1]}))
        for layer in learning
    ]
    try:
        with modes_restored(model), torch.no_grad():
            if learning:
                model.eval()
                for layer, buffers, _ in kept:
                    layer.train()
                    layer.momentum = 1.0
                    layer._buffers.update({name: tensor.clone() for name, tensor in buffers.items() if tensor is not None})
                model(images)
            for layer, size in sizes.items():
                assert layer.running_var is not None  # It tracks running statistics.
                layer.running_var.mul_((size - 1) / size)  # Normalised by the biased variance, it keeps the unbiased one.
            yield True
    finally:
        for hook in hooks:
            hook.remove()
        for layer, buffers, momentum in kept:
            layer._buffers.update(buffers)
            layer.momentum = momentum


class OccasionalCheck:
    """A check of bounds while networks train: at a network's first, second, fourth, eighth ... call, for a few images.

    A layer that is bounded wrongly is so from the start, and checking more often would cost more than it could find.
    """

    def __init__(self) -> None:
        self._times: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()

    def check(
        self,
        by: str,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        bounds: Tensor,
        threat: Threat,
        normalised_by: Tensor | None = None,
    ) -> None:
        """As the function `check`, for bounds (n, classes - 1) of the model in its own mode.

        Batch norms in train mode have the statistics of the images `normalised_by`; of `images`, if None. Networks with dropout
        are not checked, nor are bounds that are NaN: training itself reports that it has diverged.
        """
        self._times[model] = times = self._times.get(model, 0) + 1
        if times & (times - 1):
            return
        few = slice(0, CHECKED_IMAGES)
        with statistics_of(model, images if normalised_by is None else normalised_by) as possible:
            lower = bounds[few].detach().amin(dim=1)
            if possible and not lower.isnan().any():
                check(by, model, images[few], labels[few], lower, threat, steepest=False)
