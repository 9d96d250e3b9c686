"""CROWN and alpha-CROWN of networks that have a graph (`sparrow.verification.graph`); auto_LiRPA bounds all others.

CROWN's bounds are auto_LiRPA's (but for rounding). alpha-CROWN optimises the slopes of the lines below unstable ReLUs by Adam,
as auto_LiRPA does, with slopes of its own for each bound. But it goes layer by layer: first each margin's slopes under CROWN's
ranges; then those of each bound on an unstable neuron, for the sake of that bound, under the ranges of the layers before it;
then the margins' again. A range that is as tight as it can be serves every margin, and what is stable needs no second look.
All bounds are rows that know nothing of each other, so that as many are computed at a time as fit the cache.

Source: Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions" (CROWN), NeurIPS
2018, theorem 3.2; Xu et al., "Fast and Complete: Enabling Complete Verification with Massively Parallel Incomplete
Verifiers" (alpha-CROWN), ICLR 2021, sec. 3.2.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.live_view import live_view
from sparrow.networks.modes import eval_mode
from sparrow.settings import Threat
from sparrow.verification import bounds, guard
from sparrow.verification.back_substitution import Ball, Lines, Route, Rows
from sparrow.verification.bounds import margin_matrix
from sparrow.verification.graph import Convolution, Graph, Input, Node, Relu, computed, traced
from sparrow.verification.memory import out_of_memory

TOGETHER = 2**20
"""Coefficients of all rows of a batch whose slopes are optimised, at all ReLUs and the images."""
AT_ONCE = 2**20
"""Coefficients of all rows of any other batch, at the largest node."""
IMAGES_TOGETHER = 2**20
"""Neurons of the images whose ranges are kept at a time."""
ON_CUDA = 16
"""By how much more these are on a GPU: they are what fits the cache of a core, and few numbers leave a GPU idle. (64 MiB a
tensor, of which there are about ten at a time; not timed.)"""
PART = 6 * 10**11
"""Multiply-adds after which a job should have finished something to keep: a minute or so on a core."""
UNSTABLE = 0.2
"""The share of neurons that is taken to be unstable where work is counted, which nobody knows before."""
LR_DECAY = 0.98
"""Factor of the learning rate from step to step, as in auto_LiRPA."""

LATER = 5
"""By how much the steps are smaller that begin where others have ended."""

SMALL_IMAGE = 12 * 12
"""Pixels up to which auto_LiRPA is asked for whole matrices: a neuron's patch of the image is hardly smaller then. The bounds
are the same. On digits that takes three quarters of the time; from 16 x 16 on there is no difference to speak of."""

Range = tuple[Tensor, Tensor]
"""Lower and upper bounds (n, *neurons) on a node's output."""


class Slopes(NamedTuple):
    """How slopes are optimised: evaluations of a bound, with a step of Adam between each two, and its learning rate."""

    iterations: int
    lr: float


def room(size: int, like: Tensor) -> int:
    """How many numbers there are at a time, on the device of the tensor `like`, where a CPU's core has `size`."""
    return size * ON_CUDA if like.is_cuda else size


class OutOfTime(Exception):
    """Time is up before a neuron has any bounds."""


class Ranges:
    """CROWN's bounds on what ReLUs read, around some images."""

    def __init__(self, graph: Graph, ball: Ball, end: float = math.inf) -> None:
        """Raises OutOfTime if not all are there at `end` (as `time.monotonic` has it), and NetworkError if some cross."""
        self._graph, self.ball, self._end = graph, ball, end
        self._routes: dict[int, Route] = {}
        self.read = sorted({node.inputs[0] for node in graph if isinstance(node.operation, Relu)})
        """Places of the nodes that ReLUs read."""
        self.of: dict[int, Range] = {}
        """The bounds on each of them."""
        for place in self.read:
            self.of[place] = self._first(place) or self._bounded(place)

    def lines(self) -> dict[int, Lines]:
        """The line above each ReLU whose input has bounds, by the ReLU's place."""
        found = {}
        for place, node in enumerate(self._graph):
            if isinstance(node.operation, Relu) and node.inputs[0] in self.of:
                found[place] = Lines.between(*self.entering(place))
        return found

    def entering(self, place: int) -> Range:
        """The range of what the ReLUs of a node take: of what it reads, and 0 where a line is in a ReLU's place."""
        node = self._graph[place]
        lower, upper = self.of[node.inputs[0]]
        lines = node.operation.lines if isinstance(node.operation, Relu) else None
        return (lower, upper) if lines is None else (lower * lines[0], upper * lines[0])

    def _first(self, place: int) -> Range | None:
        """The range of what reads the images and nothing else, or of a ReLU, in closed form; None of another node."""
        node, (centre, radius) = self._graph[place], (self.ball.centre, self.ball.radius)
        operation = node.operation
        if not _is_closed(self._graph, node):
            return None
        if isinstance(operation, Relu):
            lower, upper = self.of[node.inputs[0]]
            return lower.relu(), upper.relu()
        if not isinstance(operation, Convolution):
            return centre - radius, centre + radius
        middle = operation(centre)
        if isinstance(radius, Tensor):
            reach = operation.weighed(operation.weight.abs())(radius)
        else:
            reach = radius * operation.weighed(operation.weight.square())(torch.ones_like(centre[:1])).sqrt()
        return middle - reach, middle + reach

    def _bounded(self, place: int) -> Range:
        """The range of all of a node's output."""
        route, lines = self._route(place), self.lines()
        shape = self._graph[place].shape
        count, neurons = len(self.ball.centre), torch.Size(shape).numel()
        lower = self.ball.centre.new_empty(count * neurons)
        upper = torch.empty_like(lower)
        size = max(1, room(AT_ONCE, lower) // (2 * route.largest()))
        # Batches of one image share its lines; images go together where each is less than a batch.
        groups = torch.arange(count * neurons, device=lower.device).split(max(1, size // neurons) * neurons)
        for part in (part for group in groups for part in group.split(size)):
            if time.monotonic() > self._end:
                raise OutOfTime
            both = self._rows(route, lines, part // neurons, part % neurons).bounds()
            lower[part], upper[part] = both[: len(part)], -both[len(part) :]
        return _ordered(lower.view(count, *shape), upper.view(count, *shape), self._graph[place])

    def _route(self, place: int) -> Route:
        if place not in self._routes:
            self._routes[place] = Route(self._graph, place)
        return self._routes[place]

    def _rows(self, route: Route, lines: dict[int, Lines], owners: Tensor, neurons: Tensor) -> Rows:
        """Rows for some neurons (m,) of a node, of the images `owners` (m,): all as they are, then all negated."""
        shape, number = self._graph[route.start].shape, torch.arange(2 * len(owners), device=owners.device)
        owners, neurons = owners.repeat(2), neurons.repeat(2)
        sign = self.ball.centre.new_ones(len(owners))
        sign[len(owners) // 2 :] = -1
        if route.windows[route.start] is None:
            first = sign.new_zeros(len(owners), *shape)
            first.flatten(1)[number, neurons] = sign
            return Rows(route, self.ball, lines, owners, None, first)
        first = sign.new_zeros(len(owners), shape[0], 1, 1)
        channels, pixels = neurons // (shape[1] * shape[2]), neurons % (shape[1] * shape[2])
        first[number, channels, 0, 0] = sign
        return Rows(route, self.ball, lines, owners, (pixels // shape[2], pixels % shape[2]), first)

    def tightened(self, which: Tensor, slopes: Slopes) -> Ranges:
        """Those of the images `which` (k,), with each bound on an unstable neuron optimised as far as time goes."""
        new = Ranges.__new__(Ranges)
        new._graph, new.ball, new._routes, new.read = self._graph, self.ball.take(which), self._routes, self.read
        new._end = self._end
        new.of = {place: (lower[which], upper[which]) for place, (lower, upper) in self.of.items()}
        for place in self.read:
            closed = new._first(place)
            if closed is not None:
                new.of[place] = closed
            elif self._route(place).relus:
                new._tighten(place, slopes)
        return new

    def _tighten(self, place: int, slopes: Slopes) -> None:
        """Optimise the bounds on the unstable neurons of a node."""
        lower, upper = (side.flatten(1).clone() for side in self.of[place])
        route, lines = self._route(place), self.lines()
        owners, neurons = ((lower < 0) & (upper > 0)).nonzero(as_tuple=True)
        size = max(1, room(TOGETHER, lower) // (2 * route.row_size()))
        for who, which in zip(owners.split(size), neurons.split(size), strict=True):
            if len(who) and time.monotonic() <= self._end:
                both = optimised(self._rows(route, lines, who, which), slopes, end=self._end)
                lower[who, which] = torch.maximum(lower[who, which], both[: len(who)])
                upper[who, which] = torch.minimum(upper[who, which], -both[len(who) :])
        shape = self.of[place][0].shape
        self.of[place] = _ordered(lower.view(shape), upper.view(shape), self._graph[place])

    def hold(self, points: Iterable[Tensor]) -> None:
        """Raise NetworkError if something that ReLUs read leaves its bounds at one of `points` (n, c, h, w), one an image."""
        for there in points:
            values = computed(self._graph, there)
            for place in self.read:
                if guard.out_of_range(*self.of[place], values[place]):
                    named = _named(self._graph[place])
                    raise NetworkError(f"CROWN gave {named} a range that it leaves at a point of the perturbation set")

    def rows(self, specification: Tensor) -> list[Rows]:
        """Rows for all of `specification` (n, k, classes), in their order, in batches."""
        route, lines = self._route(len(self._graph) - 1), self.lines()
        owners = torch.arange(len(specification), device=specification.device).repeat_interleave(specification.shape[1])
        size = max(1, room(TOGETHER, specification) // route.row_size())
        parts = zip(owners.split(size), specification.flatten(0, 1).split(size), strict=True)
        return [Rows(route, self.ball, lines, who, None, rows) for who, rows in parts]


def _is_closed(graph: Graph, node: Node) -> bool:
    """Whether the range of a node has a closed form: that of the images, of a convolution of them, and of a ReLU."""
    operation = node.operation
    if isinstance(operation, Convolution):
        return isinstance(graph[node.inputs[0]].operation, Input)
    return isinstance(operation, Input) or (isinstance(operation, Relu) and operation.lines is None)


def _ordered(lower: Tensor, upper: Tensor, node: Node) -> Range:
    """Bounds of which rounding has made none cross: of two that are equal, either may come out above the other.

    Raises NetworkError if a lower one is above by more than that, or no number.
    """
    if guard.out_of_range(lower, upper):
        raise NetworkError(f"CROWN gave lower bounds above upper ones, or none, for {_named(node)}")
    return torch.minimum(lower, upper), torch.maximum(lower, upper)


def _named(node: Node) -> str:
    """Words for a node: its operation, and the shape of what it puts out."""
    return f"an operation ({type(node.operation).__name__}) that puts out {tuple(node.shape)}"


def optimised(rows: Rows, slopes: Slopes, below: dict[int, Tensor] | None = None, end: float = math.inf) -> Tensor:
    """The best bounds (m,) of some rows while the slopes `below` are optimised, in place; CROWN's slopes, if None.

    No step begins after `end` (as `time.monotonic` has it).
    """
    below = rows.slopes() if below is None else below
    best = rows.bounds(below, keep=slopes.iterations > 1)
    if not below:
        return best
    adam = torch.optim.Adam(below.values(), lr=slopes.lr, maximize=True, fused=True)
    for step in range(1, slopes.iterations):
        if time.monotonic() > end:
            break
        gradients, _ = rows.gradients(below)
        for place, slope in below.items():
            slope.grad = gradients[place]
        adam.step()
        for slope in below.values():
            slope.clamp_(0, 1)
        adam.param_groups[0]["lr"] *= LR_DECAY
        best = torch.maximum(best, rows.bounds(below, keep=step < slopes.iterations - 1))
    return best


def margins(graph: Graph, images: Tensor, labels: Tensor, threat: Threat, classes: int, slopes: Slopes | None = None) -> Tensor:
    """Lower bounds (n, classes - 1) on the margins, by CROWN; by alpha-CROWN with `slopes`.

    Raises NetworkError if a point of a perturbation set refutes a range.
    """
    specification = margin_matrix(labels, classes).to(images.dtype)
    size = _images_together(graph, images)
    with torch.no_grad():
        parts = zip(images.split(size), specification.split(size), strict=True)
        return torch.cat([_margins(graph, some.detach(), threat, rows, slopes) for some, rows in parts])


def _margins(graph: Graph, images: Tensor, threat: Threat, specification: Tensor, slopes: Slopes | None) -> Tensor:
    shape, ranges = specification.shape[:2], Ranges(graph, Ball.of(images, threat))
    points = [images, *guard.random_points(images, threat)]
    ranges.hold(points)
    if slopes is None:
        return torch.cat([rows.bounds() for rows in ranges.rows(specification)]).view(shape)
    best, kept = [], []
    for rows in ranges.rows(specification):
        kept.append(rows.slopes())
        best.append(optimised(rows, slopes, kept[-1]))
    every = torch.arange(len(specification), device=specification.device)
    tightened = ranges.tightened(every, slopes)
    tightened.hold(points)
    tight = tightened.rows(specification)
    best += [optimised(some, slopes) for some in tight]
    smaller = slopes._replace(lr=slopes.lr / LATER)
    best += [optimised(some, smaller, some.slopes(below)) for some, below in zip(tight, kept, strict=True)]
    return torch.cat(best).view(3, *shape).amax(0)


def multiply_adds(graph: Graph, classes: int, slopes: Slopes | None = None) -> int:
    """How many multiply-adds the bounds on an image take by CROWN; about, by alpha-CROWN with `slopes`."""
    closed = [place for place, node in enumerate(graph) if _is_closed(graph, node)]
    read = sorted({node.inputs[0] for node in graph if isinstance(node.operation, Relu)} - set(closed))
    rows = sum(2 * torch.Size(graph[place].shape).numel() * Route(graph, place).multiply_adds() for place in read)
    margins = (classes - 1) * Route(graph, len(graph) - 1).multiply_adds()
    if slopes is None:
        return rows + margins
    # Each step goes back and forth; the margins are optimised three times.
    steps = 2 * slopes.iterations - 1
    return rows + int(UNSTABLE * steps * rows) + 3 * steps * margins


def at_a_time(model: nn.Module, image: Tensor, classes: int, slopes: Slopes | None = None) -> int | None:
    """How many images like `image` (1, c, h, w) have bounds after `PART` multiply-adds, 1 at least; None where only auto_LiRPA
    has bounds, or if memory runs out."""
    try:
        graph = traced(live_view(model, image.shape[1:]), image)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return None
    return None if graph is None else max(1, PART // max(1, multiply_adds(graph, classes, slopes)))


def smallest_margin(
    model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, slopes: Slopes | None = None
) -> Tensor:
    """Lower bounds (n,) on the smallest margin over all other classes, by CROWN; by alpha-CROWN with `slopes`.

    Of the network without the units that cannot matter; auto_LiRPA's, where that has no graph. `model` is left as it was.
    Raises NetworkError if auto_LiRPA cannot bound it either, or if a point of a perturbation set refutes a bound or a range.
    """
    method = "CROWN" if slopes is None else "CROWN-Optimized"
    graph = traced(live_view(model, images.shape[1:]), images[:1])
    if graph is None:
        return bounds.smallest_margin(
            model, images, labels, threat, classes, method, slopes and _options(slopes, model, images)
        )
    found = margins(graph, images, labels, threat, classes, slopes).amin(dim=1)
    guard.check(method, model, images, labels, found, threat)
    return found


def input_ranges(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int) -> list[Range]:
    """Lower and upper bounds (n, ...) by CROWN on the input of each ReLU layer, in the network's order; empty without ReLUs.

    auto_LiRPA's, where the network has no graph. `model` is left as it was. Raises NetworkError if auto_LiRPA cannot bound it
    either, or if a point of a perturbation set refutes a bound.
    """
    graph = traced(model, images[:1])
    if graph is None:
        return bounds.input_ranges(model, images, labels, threat, classes)
    relus = [place for place, node in enumerate(graph) if isinstance(node.operation, Relu)]
    found = []
    with eval_mode(model), torch.no_grad():
        size = _images_together(graph, images)
        for some, own in zip(images.split(size), labels.split(size), strict=True):
            ranges = Ranges(graph, Ball.of(some.detach(), threat))
            ranges.hold(guard.probes(model, some, own, threat))
            found.append([ranges.entering(place) for place in relus])
    return [
        (torch.cat(lower), torch.cat(upper))
        for lower, upper in (zip(*layer, strict=True) for layer in zip(*found, strict=True))
    ]


def _images_together(graph: Graph, images: Tensor) -> int:
    """Of how many images the ranges are kept at a time."""
    neurons = sum(torch.Size(node.shape).numel() for node in graph if isinstance(node.operation, Relu))
    return max(1, room(IMAGES_TOGETHER, images) // max(neurons, 1))


def _options(slopes: Slopes, model: nn.Module, images: Tensor) -> dict[str, object]:
    """auto_LiRPA's settings for the same. Patience is a batch's; without it, no image's bound depends on the others."""
    settings = {"iteration": slopes.iterations, "lr_alpha": slopes.lr, "early_stop_patience": slopes.iterations}
    options: dict[str, object] = {"optimize_bound_args": settings}
    if images[0, 0].numel() <= SMALL_IMAGE and any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
        options["conv_mode"] = "matrix"
    return options
