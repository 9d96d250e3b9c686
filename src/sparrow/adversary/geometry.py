"""The geometry of a threat: balls in the l_inf and l_2 norms around images, inside [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.settings import Norm, Threat


def direction(gradient: Tensor, threat: Threat) -> Tensor:
    """Direction (n, ...) of steepest ascent, of length 1 in the norm of `threat`."""
    if threat.norm == "linf":
        return gradient.sign()
    return gradient / _length(gradient).clamp_min(1e-12)


def project(images: Tensor, centre: Tensor, threat: Threat, radius: Tensor | None = None) -> Tensor:
    """The nearest images within `threat` of `centre`, then clipped to [0, 1]; `radius` (n, 1, ...) instead of `threat.eps`."""
    difference = images - centre
    if threat.norm == "linf" and radius is None:
        return (centre + difference.clamp(-threat.eps, threat.eps)).clamp(0, 1)
    radius = torch.as_tensor(threat.eps, dtype=images.dtype, device=images.device) if radius is None else radius
    if threat.norm == "linf":
        difference = torch.minimum(torch.maximum(difference, -radius), radius)
    else:
        difference = difference * (radius / _length(difference).clamp_min(1e-12)).clamp_max(1)
    return (centre + difference).clamp(0, 1)


def distance(images: Tensor, centre: Tensor, norm: Norm) -> Tensor:
    """Distances (n,) of the images from their centres."""
    difference = (images - centre).flatten(1)
    return difference.abs().amax(dim=1) if norm == "linf" else difference.norm(dim=1)


def random_start(images: Tensor, threat: Threat) -> Tensor:
    """A point of each image's perturbation set (n, ...), drawn uniformly; not clipped to [0, 1]."""
    if threat.norm == "linf":
        return images + torch.empty_like(images).uniform_(-threat.eps, threat.eps)
    noise = torch.randn_like(images)
    dimensions = noise[0].numel()
    radius = torch.rand(len(images), *[1] * (images.dim() - 1), device=images.device) ** (1 / dimensions)
    return images + threat.eps * radius * noise / _length(noise)


def _length(batch: Tensor) -> Tensor:
    return batch.flatten(1).norm(dim=1).view(-1, *[1] * (batch.dim() - 1))
