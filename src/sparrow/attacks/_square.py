"""Square: random search that changes one square window of all images at a time, and never looks at a gradient.

An image leaves as soon as it is misclassified. As in AutoAttack, the windows shrink by the schedule for 10,000 queries,
however many there are, and all images of a batch share a window.

Source: Andriushchenko et al., "Square Attack: a Query-efficient Black-box Adversarial Attack via Random Search", ECCV
2020, algorithms 1 to 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparrow.attacks._active import Standing, logits
from sparrow.attacks._search import confirmed
from sparrow.margin import margin
from sparrow.settings import Threat

FIRST_SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The share of an image that a window covers is halved after so many queries."""


def square(
    model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, queries: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are broken, and what all of them have become (n, c, h, w): `images` where they are not."""
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    start, proposal = (_stripes, _window) if threat.norm == "linf" else (_tiles, _swap)
    now = Standing(centre=images, labels=labels, point=start(images, threat, generator))
    now.margin = margin(logits(model, now.point), now.labels)

    def fell(changed: Tensor) -> None:
        fallen = confirmed(model, now.point, now.labels, changed & (now.margin <= 0))
        broken[now.places[fallen]], result[now.places[fallen]] = True, now.point[fallen]
        now.keep(~fallen)

    fell(torch.ones_like(now.labels, dtype=torch.bool))
    for query in range(queries):
        if not len(now):
            break
        tried = proposal(now.point, now.centre, threat, _side(query, images), generator)
        margins = margin(logits(model, tried), now.labels)
        better = margins < now.margin
        now.point = torch.where(better.view(-1, *[1] * (images.dim() - 1)), tried, now.point)
        now.margin = torch.minimum(margins, now.margin)
        fell(better)
    return broken, result


def _side(query: int, images: Tensor) -> int:
    """Side of the window, in pixels."""
    share = FIRST_SHARE / 2 ** sum(query > at for at in HALVED_AT)
    height, width = images.shape[-2:]
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(2, shape, generator=generator).to(like) * 2 - 1


def _corner(images: Tensor, side: int, generator: torch.Generator) -> tuple[slice, slice]:
    """A window, as rows and columns; as in AutoAttack the last place that would fit is never taken."""
    places = [int(torch.randint(max(extent - side, 1), (1,), generator=generator)) for extent in images.shape[-2:]]
    return slice(places[0], places[0] + side), slice(places[1], places[1] + side)


def _stripes(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """Vertical stripes of height eps."""
    count, channels, _, width = images.shape
    return (images + threat.eps * _signs((count, channels, 1, width), generator, images)).clamp(0, 1)


def _window(points: Tensor, centre: Tensor, threat: Threat, side: int, generator: torch.Generator) -> Tensor:
    """A window of one colour: plus or minus eps in each channel (algorithm 2)."""
    rows, columns = _corner(points, side, generator)
    signs = _signs((points.shape[1], 1, 1), generator, points)
    tried = points.clone()
    tried[..., rows, columns] = (centre[..., rows, columns] + threat.eps * signs).clamp(0, 1)
    return tried


def _tiles(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """Five by five tiles of two opposed bumps, of length eps together."""
    height, width = images.shape[-2:]
    side = max(height // 5, 1)
    first = max((height - 5 * side) // 2, 0)
    change = torch.zeros_like(images)
    for top in range(first, min(first + side * (height // side), height - side + 1), side):
        for left in range(first, min(first + side * (width // side), width - side + 1), side):
            signs = _signs((*images.shape[:2], 1, 1), generator, images)
            change[..., top : top + side, left : left + side] += _bumps(side, generator, images) * signs
    return (images + threat.eps * _unit(change)).clamp(0, 1)


def _swap(points: Tensor, centre: Tensor, threat: Threat, side: int, generator: torch.Generator) -> Tensor:
    """Takes the change out of one window and puts its length, with two bumps, into another (algorithm 3)."""
    side = min(max(side, 3) | 1, *points.shape[-2:])
    change = points - centre
    into, out = _corner(points, side, generator), _corner(points, side, generator)
    window = torch.zeros_like(points[:1, :1])
    window[..., into[0], into[1]] = window[..., out[0], out[1]] = 1
    both = (change * window).square().sum(dim=(-2, -1), keepdim=True)
    unused = (threat.eps**2 - change.square().sum(dim=(-3, -2, -1), keepdim=True)).clamp_min(0) / points.shape[1]
    bumps = _bumps(side, generator, points) * _signs((*points.shape[:2], 1, 1), generator, points)
    old = change[..., into[0], into[1]]
    bumps = bumps + old / old.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    bumps = bumps / bumps.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    change[..., out[0], out[1]] = 0
    change[..., into[0], into[1]] = bumps * (unused + both).sqrt()
    return (centre + threat.eps * _unit(change)).clamp(0, 1)


def _bumps(side: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Two pyramids, up and down, side by side or one above the other; (side, side), of length one."""
    bump = torch.cat([_pyramid(side // 2, side), -_pyramid(side - side // 2, side)])
    bump = bump / bump.norm().clamp_min(1e-12)
    return (bump.T if bool(torch.randint(2, (1,), generator=generator)) else bump).to(like)


def _pyramid(height: int, width: int) -> Tensor:
    """Rectangles around the middle, each one pixel larger all round, the k-th of height 1 / k^2, on top of each other."""
    result = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        result[rows, columns] += 1 / (ring + 1) ** 2
    return result / result.norm().clamp_min(1e-12)


def _unit(change: Tensor) -> Tensor:
    return change / change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (change.dim() - 1))
