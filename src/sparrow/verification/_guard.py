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
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.margin import margin
from sparrow.modes import eval_mode
from sparrow.settings import Threat

INSIDE = 1 - 1e-6
"""How far out points lie at most, in units of the radius: none shall leave an l2 ball by rounding."""
ROUNDING = 1e-4
"""By how much rounding may lift a bound over a margin, in units of the largest logit, or of 1 if that is more. On the
architectures here, untrained and trained, up to 2e-6 has been seen (a radius of 1e-7, float32)."""


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


def spread(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Iterator[Tensor]:
    """The images (n, c, h, w), then a point of the perturbation set of each of them, six times in all."""
    yield images
    with torch.enable_grad():
        moving = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margin(model(moving), labels).sum(), moving)
    gradient = gradient.nan_to_num()
    if threat.norm == "linf":
        steepest = gradient.sign()
    else:
        steepest = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (images.dim() - 1))
    yield _moved(images.detach(), -steepest, threat)
    yield from points(images, threat)


def hold(by: str, model: nn.Module, images: Tensor, labels: Tensor, bounds: Tensor, threat: Threat, advice: str = "") -> None:
    """Hold the lower bounds (n,) that are given `by` name against the margins at points around `images` (n, c, h, w).

    Raises NetworkError if one is not a number, or above a margin by more than rounding; `advice` ends its message. The model
    is looked at in eval mode, and left as it was.
    """
    if bounds.isnan().any():
        raise NetworkError(f"{by} gave a bound that is not a number")
    worst, scale = torch.full_like(bounds, torch.inf), torch.ones_like(bounds)
    with eval_mode(model), torch.no_grad():
        for there in spread(model, images, labels, threat):
            logits = model(there)
            worst = torch.minimum(worst, margin(logits, labels).nan_to_num(torch.inf).to(worst))
            scale = torch.maximum(scale, logits.abs().amax(dim=1).nan_to_num(torch.inf).to(scale))
    excess = (bounds - worst) / (ROUNDING * scale)
    if (excess > 1).any():
        place = int(excess.argmax())
        found = f"{float(bounds[place]):.4g} against {float(worst[place]):.4g}"
        raise NetworkError(f"{by} gave a bound above the margin of a point that it covers ({found}){advice}")
