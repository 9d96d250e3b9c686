"""Square: random search that changes one square window of all images at a time, without any gradient.

An image is removed from the search as soon as it is misclassified. As in AutoAttack, the windows shrink by the schedule for
10,000 queries, however many there are, and all images share a window.

Source: Andriushchenko et al., "Square Attack: a Query-efficient Black-box Adversarial Attack via Random Search", ECCV
2020, algorithms 1 to 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from sparrow.adversary.batches import batch_size, channels_last, logits, rows_at_once
from sparrow.adversary.margin import margin
from sparrow.adversary.queries_ahead import Proposals, search_ahead
from sparrow.adversary.record import Record
from sparrow.adversary.search import SearchNetwork, confirmed, precision_of
from sparrow.adversary.survivors import Survivors
from sparrow.inference.window import Window
from sparrow.inference.window_updates import WholeImages, WindowUpdates, window_updates
from sparrow.settings import Threat

FIRST_SHARE = 0.8
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The share of an image that a window covers is halved after so many queries."""
SMALLEST = 16 * 16
"""Fewest pixels of an image for which only windows are recomputed: at 32 x 32 it is faster, at 8 x 8 little is saved."""


@dataclass
class _Remaining(Survivors):
    """The images that have not been misclassified yet, and the margins of their current points."""

    centre: Tensor
    """The images (n, c, h, w)."""
    margin: Tensor
    """Margins (n,) of the points."""


def square(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    queries: int,
    generator: torch.Generator,
    record: Record | None = None,
) -> tuple[Tensor, Tensor]:
    """Which images (n,) are misclassified within `threat`, and these adversarial images (n, c, h, w), `images` elsewhere.

    `record`, if given, notes the points of smallest margin.
    """
    broken, result = torch.zeros_like(labels, dtype=torch.bool), images.clone()
    in_linf = threat.norm == "linf"
    start, proposal = (_stripes, _window) if in_linf else (_tiles, _swap)
    by_windows = in_linf and _worth_window_updates(model, images)
    evaluator = _window_updates if by_windows else _whole_images
    # In l_2 all of an image changes, and each has random numbers of its own.
    size = batch_size(model, images) if in_linf else len(images)
    points, shared = start(images, threat, generator), generator.get_state()
    propose = partial(proposal, threat=threat, generator=generator)
    proposals = _proposals(images, threat, queries, generator) if in_linf and not by_windows else None

    def search(part: Tensor, mine: Record | None) -> Iterator[tuple[Tensor, Tensor]]:
        """The search of the images `part`; all parts meet the same windows."""
        given = model, points[part], images[part], labels[part]
        if proposals is not None:
            return search_ahead(*given, proposals, rows_at_once(model), mine)
        generator.set_state(shared)
        return _search(*given, queries, propose, evaluator, mine)

    for part in torch.arange(len(images), device=images.device).split(size):
        for places, found in search(part, None if record is None else record.at(part)):
            broken[part[places]], result[part[places]] = True, found
    return broken, result


def _search(
    model: nn.Module,
    points: Tensor,
    images: Tensor,
    labels: Tensor,
    queries: int,
    propose: Callable[..., tuple[Window, Tensor]],
    evaluator: Callable[[nn.Module, Tensor, int], WholeImages | WindowUpdates],
    record: Record | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield places (k,) of images as soon as they are misclassified, with these adversarial images (k, c, h, w)."""
    now = _Remaining(labels=labels, centre=images, margin=margin(logits(model, points), labels))
    current: WholeImages | WindowUpdates = _whole_images(model, points, 0)
    changed = torch.ones_like(labels, dtype=torch.bool)
    sides = [_side(query, images) for query in range(queries)]
    for before, side in pairwise([0, *sides, 0]):
        done = confirmed(model, current.points, now.labels, changed & (now.margin <= 0))
        if bool(done.any()):
            yield now.places[done], current.points[done]
            now.keep(~done)
            current.keep(~done)
        if not len(now) or not side:
            if len(now) and record is not None:
                # A change is accepted only if the margin is smaller: these are the smallest of the search.
                record.note(now.places, current.points, now.margin)
            return
        if side != before:
            points = current.points.clone()
            del current  # Its memory is free before the next one needs as much.
            current = evaluator(model, points, side)
        with precision_of(model, images.device):
            margins = margin(current.logits(*propose(current.points, now.centre, side=side)).float(), now.labels)
        changed = margins < now.margin
        current.accept(changed)
        now.margin = torch.minimum(margins, now.margin)


def _worth_window_updates(model: nn.Module, images: Tensor) -> bool:
    """Whether windows alone are to be recomputed: measured to be faster on a CPU, not tried on a GPU."""
    traced = isinstance(model, SearchNetwork) and isinstance(model.view, fx.GraphModule) and model.view is not model.full
    return traced and images.device.type == "cpu" and images.shape[-2:].numel() >= SMALLEST


def _window_updates(model: nn.Module, points: Tensor, side: int) -> WholeImages | WindowUpdates:
    """The evaluation of `points` by windows of up to `side` pixels; of whole images where the network does not allow it."""
    view = model.view if isinstance(model, SearchNetwork) else model
    with precision_of(model, points.device):
        updates = window_updates(view, channels_last(points), side) if isinstance(view, fx.GraphModule) else None
        return updates or _whole_images(model, points, side)


def _whole_images(model: nn.Module, points: Tensor, side: int) -> WholeImages:
    return WholeImages(partial(logits, model), points)


def _side(query: int, images: Tensor) -> int:
    """Side of the window at a query, in pixels."""
    share = FIRST_SHARE / 2 ** sum(query > at for at in HALVED_AT)
    height, width = images.shape[-2:]
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(2, shape, generator=generator).to(like) * 2 - 1


def _corner(images: Tensor, side: int, generator: torch.Generator) -> Window:
    """A random window of `side` x `side` pixels; as in AutoAttack, never at the last place where it would fit."""
    places = [int(torch.randint(max(extent - side, 1), (1,), generator=generator)) for extent in images.shape[-2:]]
    return Window(*((place, place + side) for place in places))


def _stripes(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """`images` plus vertical stripes of plus or minus eps, clipped to [0, 1]."""
    count, channels, _, width = images.shape
    return (images + threat.eps * _signs((count, channels, 1, width), generator, images)).clamp(0, 1)


def _window(points: Tensor, centre: Tensor, threat: Threat, side: int, generator: torch.Generator) -> tuple[Window, Tensor]:
    """A window, and its new content: the image plus or minus eps, one sign for each channel (algorithm 2)."""
    window = _corner(points, side, generator)
    signs = _signs((points.shape[1], 1, 1), generator, points)
    return window, (window.of(centre) + threat.eps * signs).clamp(0, 1)


def _proposals(images: Tensor, threat: Threat, queries: int, generator: torch.Generator) -> Proposals:
    """What `_window` proposes at each query."""
    windows, signs = list[Window](), list[Tensor]()
    for query in range(queries):
        windows.append(_corner(images, _side(query, images), generator))
        signs.append(torch.randint(2, (images.shape[1], 1, 1), generator=generator))
    change = threat.eps * (torch.stack(signs).to(images) * 2 - 1)
    inside = []
    for spans, extent in zip(zip(*windows, strict=True), images.shape[-2:], strict=True):
        first, end = torch.tensor(spans).T.unsqueeze(2)
        pixels = torch.arange(extent)
        inside.append(((pixels >= first) & (pixels < end)).to(images.device))
    rows, columns = inside
    return Proposals(rows[:, None, :, None], columns[:, None, None, :], change)


def _tiles(images: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    """`images` plus five by five tiles of two opposed bumps, of length eps together, clipped to [0, 1]."""
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
    """The whole image as a window, and its new content: the change in one window removed, and its length added, as two bumps,
    to that in another (algorithm 3)."""
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
    # Scaled to the length eps again, so that every pixel changes.
    return Window(*((0, extent) for extent in points.shape[-2:])), (centre + threat.eps * _unit(change)).clamp(0, 1)


def _bumps(side: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Two pyramids (side, side), one up and one down, side by side or one above the other, of length 1."""
    bump = torch.cat([_pyramid(side // 2, side), -_pyramid(side - side // 2, side)])
    bump = bump / bump.norm().clamp_min(1e-12)
    return (bump.T if bool(torch.randint(2, (1,), generator=generator)) else bump).to(like)


def _pyramid(height: int, width: int) -> Tensor:
    """A pyramid (height, width) of length 1: the sum of rectangles around the middle, each one pixel larger on every side than
    the one before, the k-th of height 1 / k^2."""
    result = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        result[rows, columns] += 1 / (ring + 1) ** 2
    return result / result.norm().clamp_min(1e-12)


def _unit(change: Tensor) -> Tensor:
    """`change` (n, ...) scaled to length 1 for each image."""
    return change / change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (change.dim() - 1))
