"""Square: random search that changes one square window of all images at a time, and never looks at a gradient.

An image leaves as soon as it is misclassified. As in AutoAttack, the windows shrink by the schedule for 10,000 queries,
however many there are, and all images share a window.

Source: Andriushchenko et al., "Square Attack: a Query-efficient Black-box Adversarial Attack via Random Search", ECCV
2020, algorithms 1 to 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparrow.adversary.margin import margin
from sparrow.adversary.record import Record
from sparrow.adversary.search import Search, confirmed, searched_in
from sparrow.adversary.survivors import Standing, batch_size, laid_out, logits
from sparrow.inference.window import Window
from sparrow.inference.window_updates import Whole, Windowed, windowed
from sparrow.settings import Threat

FIRST_SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The share of an image that a window covers is halved after so many queries."""
SMALLEST = 16 * 16
"""Pixels of an image from which on it is looked at through windows: at 32 x 32 it pays, at 8 x 8 little is left out."""


def square(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    queries: int,
    generator: torch.Generator,
    record: Record | None = None,
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are broken, and what all of them have become (n, c, h, w): `images` where they are not.

    The points of smallest margin are noted in `record`.
    """
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    start, proposal = (_stripes, _window) if threat.norm == "linf" else (_tiles, _swap)
    # In l_2 all of an image changes, and each has random numbers of its own.
    through_windows = threat.norm == "linf" and _has_windows(model, images)
    looking, size = (_looks, batch_size(images)) if through_windows else (_whole, len(images))
    points, shared = start(images, threat, generator), generator.get_state()
    propose = partial(proposal, threat=threat, generator=generator)
    for part in torch.arange(len(images), device=images.device).split(size):
        generator.set_state(shared)
        mine = None if record is None else record.at(part)
        for places, fallen in _search(model, points[part], images[part], labels[part], queries, propose, looking, mine):
            broken[part[places]], result[part[places]] = True, fallen
    return broken, result


def _search(
    model: nn.Module,
    points: Tensor,
    images: Tensor,
    labels: Tensor,
    queries: int,
    propose: Callable[..., tuple[Window, Tensor]],
    looking: Callable[[nn.Module, Tensor, int], Whole | Windowed],
    record: Record | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Places (k,) of images as they fall, and what they have become (k, c, h, w)."""
    now = Standing(centre=images, labels=labels, margin=margin(logits(model, points), labels))
    looks, changed = _whole(model, points, 0), torch.ones_like(labels, dtype=torch.bool)
    sides = [_side(query, images) for query in range(queries)]
    for before, side in pairwise([0, *sides, 0]):
        fallen = confirmed(model, looks.points, now.labels, changed & (now.margin <= 0))
        if bool(fallen.any()):
            yield now.places[fallen], looks.points[fallen]
            now.keep(~fallen)
            looks.keep(~fallen)
        if not len(now) or not side:
            if len(now) and record is not None:
                # A point is kept only if its margin is smaller: these are the smallest that were seen.
                record.sees(now.places, looks.points, now.margin)
            return
        if side != before:
            # What it remembers may go before what the next one does comes.
            points, looks = looks.points.clone(), None
            looks = looking(model, points, side)
        with searched_in(model, images.device):
            margins = margin(looks.look(*propose(looks.points, now.centre, side=side)).float(), now.labels)
        changed = margins < now.margin
        looks.settle(changed)
        now.margin = torch.minimum(margins, now.margin)


def _has_windows(model: nn.Module, images: Tensor) -> bool:
    """Whether to look through windows: on a CPU it was seen to pay, on a GPU it was not tried."""
    a_view = isinstance(model, Search) and model.view is not model.full
    return a_view and images.device.type == "cpu" and images.shape[-2:].numel() >= SMALLEST


def _looks(model: Search, points: Tensor, side: int) -> Whole | Windowed:
    with searched_in(model, points.device):
        return windowed(model.view, laid_out(points), side) or _whole(model, points, side)


def _whole(model: nn.Module, points: Tensor, side: int) -> Whole:
    return Whole(partial(logits, model), points)


def _side(query: int, images: Tensor) -> int:
    """Side of the window, in pixels."""
    share = FIRST_SHARE / 2 ** sum(query > at for at in HALVED_AT)
    height, width = images.shape[-2:]
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(2, shape, generator=generator).to(like) * 2 - 1


def _corner(images: Tensor, side: int, generator: torch.Generator) -> Window:
    """A window; as in AutoAttack the last place that would fit is never taken."""
    places = [int(torch.randint(max(extent - side, 1), (1,), generator=generator)) for extent in images.shape[-2:]]
    return Window(*((place, place + side) for place in places))


def _stripes(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """Vertical stripes of height eps."""
    count, channels, _, width = images.shape
    return (images + threat.eps * _signs((count, channels, 1, width), generator, images)).clamp(0, 1)


def _window(points: Tensor, centre: Tensor, threat: Threat, side: int, generator: torch.Generator) -> tuple[Window, Tensor]:
    """A window of one colour: plus or minus eps in each channel (algorithm 2)."""
    window = _corner(points, side, generator)
    signs = _signs((points.shape[1], 1, 1), generator, points)
    return window, (window.of(centre) + threat.eps * signs).clamp(0, 1)


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


def _swap(points: Tensor, centre: Tensor, threat: Threat, side: int, generator: torch.Generator) -> tuple[Window, Tensor]:
    """Takes the change out of one window and puts its length, with two bumps, into another (algorithm 3)."""
    side = min(max(side, 3) | 1, *points.shape[-2:])
    change = points - centre
    into, out = _corner(points, side, generator), _corner(points, side, generator)
    mask = torch.zeros_like(points[:1, :1])
    into.of(mask)[:], out.of(mask)[:] = 1, 1
    both = (change * mask).square().sum(dim=(-2, -1), keepdim=True)
    unused = (threat.eps**2 - change.square().sum(dim=(-3, -2, -1), keepdim=True)).clamp_min(0) / points.shape[1]
    bumps = _bumps(side, generator, points) * _signs((*points.shape[:2], 1, 1), generator, points)
    old = into.of(change)
    bumps = bumps + old / old.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    bumps = bumps / bumps.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-12)
    out.of(change)[:] = 0
    into.of(change)[:] = bumps * (unused + both).sqrt()
    # The length of the whole is eps again, so that all of it changes.
    return Window(*((0, extent) for extent in points.shape[-2:])), (centre + threat.eps * _unit(change)).clamp(0, 1)


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
