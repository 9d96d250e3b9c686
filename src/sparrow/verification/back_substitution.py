"""Linear lower bounds on neurons of a graph, taken back to the images; and their gradient with respect to ReLUs' slopes.

A row is a linear function of one node's output for one image. Its coefficients go back from node to node (`Rows.bounds`): times
the transposed matrix of an affine operation, and through a ReLU times the slope of the line below where they are positive, of
that above where they are negative. The least value of what arrives at the image over its perturbation set is a lower bound on
the row. The gradient needs no second graph (`Rows.gradients`): the point of the perturbation set with this least value goes
forward through the same lines, and the slope of a line below has its ReLU's input there as derivative, times the coefficient.

Coefficients of a pixel of a convolution's output are 0 outside of what it sees, a window of each map before it (`Route`): as
long as that is smaller than the map, only the window is computed.

Sources: Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions" (CROWN), NeurIPS
2018; Xu et al., "Fast and Complete" (slopes that are optimised), ICLR 2021; Wang et al., "Beta-CROWN" (multipliers of split
constraints), NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sparrow.settings import Threat
from sparrow.verification.graph import Add, Convolution, Flatten, Graph, Input, Linear, Mean, Pair, Relu

LARGEST_WINDOW = 0.7
"""Share of a map's pixels up to which a window of it is computed by itself."""
SMALLEST_WIDTH = 1e-8  # As in auto_LiRPA: an interval of one point has a slope, too.


class Window(NamedTuple):
    """What the pixel at `(y, x)` of the start sees of a map: `size` pixels from `(y, x) * scale + shift` on."""

    size: Pair
    scale: Pair
    shift: Pair


class Route:
    """The nodes from which a node is computed, and its pixels' windows of them."""

    def __init__(self, graph: Graph, start: int) -> None:
        self.graph, self.start = graph, start
        self.windows: dict[int, Window | None] = {}
        """For each of these nodes; None where whole outputs are computed."""
        reached: dict[int, list[Window | None]] = {start: [self._first()]}
        for place in range(start, -1, -1):
            if place in reached:
                self.windows[place] = self._union(place, reached[place])
                for given in graph[place].inputs:
                    reached.setdefault(given, []).append(self.through(place))
        self.nodes = list(self.windows)
        """Their places, the start first."""
        self.relus = [place for place in self.nodes if isinstance(graph[place].operation, Relu)]
        self.bare = {one for place in self.nodes if place not in self.relus for one in graph[place].inputs}
        """Places of the nodes that others than ReLUs read: a ReLU's line is 0 outside of the map, whatever enters it."""

    def _first(self) -> Window | None:
        return Window((1, 1), (1, 1), (0, 0)) if len(self.graph[self.start].shape) == 3 else None

    def _union(self, place: int, windows: list[Window | None]) -> Window | None:
        """The window that all readers of a node need; None if it is no smaller than the map."""
        found = [window for window in windows if window is not None]
        shape = self.graph[place].shape
        if len(found) < len(windows) or len(shape) != 3 or len({window.scale for window in found}) > 1:
            return None
        first = [min(window.shift[axis] for window in found) for axis in (0, 1)]
        last = [max(window.shift[axis] + window.size[axis] for window in found) for axis in (0, 1)]
        height, width = last[0] - first[0], last[1] - first[1]
        if place != self.start and height * width > LARGEST_WINDOW * shape[1] * shape[2]:
            return None
        return Window((height, width), found[0].scale, (first[0], first[1]))

    def through(self, place: int) -> Window | None:
        """The window of its inputs that a node's own window reads."""
        window, operation = self.windows[place], self.graph[place].operation
        if window is None or not isinstance(operation, Convolution):
            return window
        return Window(
            operation.reach(window.size),
            _pair(scale * s for scale, s in zip(window.scale, operation.stride, strict=True)),
            _pair(t * s - p for t, s, p in zip(window.shift, operation.stride, operation.padding, strict=True)),
        )

    def size(self, place: int) -> int:
        """How many coefficients a row has at a node."""
        shape, window = self.graph[place].shape, self.windows[place]
        return torch.Size(shape if window is None else (shape[0], *window.size)).numel()

    def multiply_adds(self) -> int:
        """How many multiply-adds a row takes on its way back to the images, those of ReLUs and sums apart."""
        total = 0
        for place in self.nodes:
            operation, window = self.graph[place].operation, self.windows[place]
            if isinstance(operation, Convolution):
                pixels = self.graph[place].shape[1:] if window is None else window.size
                total += torch.Size(pixels).numel() * operation.weight.numel()
            elif isinstance(operation, Linear):
                total += operation.weight.numel()
        return total

    def row_size(self) -> int:
        """How many coefficients a row has at the images and at all ReLUs: what is kept for gradients."""
        return sum(self.size(place) for place in (*self.relus, 0))

    def largest(self) -> int:
        """How many coefficients a row has at most at a node: what is kept without gradients."""
        return max(self.size(place) for place in self.nodes)


def _pair(numbers: Iterable[int]) -> Pair:
    first, second = numbers
    return first, second


@dataclass(frozen=True)
class Ball:
    """Perturbation sets of images: boxes, or l2 balls."""

    centre: Tensor
    """Maps (n, c, h, w)."""
    radius: Tensor | float
    """Half sides (n, c, h, w) of boxes; the radius of l2 balls."""

    @classmethod
    def of(cls, images: Tensor, threat: Threat) -> Ball:
        """Those of a threat around `images`; for linf, clipped to [0, 1]."""
        if threat.norm == "l2":
            return cls(images, threat.eps)
        lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
        return cls((lower + upper) / 2, (upper - lower) / 2)

    def take(self, which: Tensor | slice) -> Ball:
        """Those of some of the images."""
        return Ball(self.centre[which], self.radius[which] if isinstance(self.radius, Tensor) else self.radius)


class Lines(NamedTuple):
    """The line above each ReLU (n, *neurons): `slope x + offset`. An offset of 0 says that the ReLU is stable."""

    slope: Tensor
    offset: Tensor

    @classmethod
    def between(cls, lower: Tensor, upper: Tensor) -> Lines:
        """Of ReLUs whose inputs lie between these bounds."""
        lower, upper = lower.clamp(max=0), upper.clamp(min=0)
        upper = torch.maximum(upper, lower + SMALLEST_WIDTH)
        slope = upper / (upper - lower)
        return cls(slope, -lower * slope)


class Rows:
    """Rows (m) of one start, bounded under `lines` of all ReLUs before it."""

    def __init__(
        self, route: Route, ball: Ball, lines: dict[int, Lines], owners: Tensor, at: tuple[Tensor, Tensor] | None, first: Tensor
    ) -> None:
        """Of the images `owners` (m,); `at` are their pixels' coordinates (m,) in the start's map, None for vectors and whole
        maps; `first` are their coefficients (m, channels, 1, 1) there, (m, *neurons) without coordinates.

        Lines are those of images (n, *neurons), or of rows (m, *neurons), where there are as many.
        """
        self._route, self._graph, self._owners, self._at = route, route.graph, owners, at
        self._indices: dict[Window, tuple[Tensor, Tensor]] = {}
        # Rows of one image share what is the image's.
        self._one = len(owners) > 0 and bool((owners == owners[0]).all())
        self._shared, self._lines = lines, dict[int, Lines]()
        operations = {place: self._graph[place].operation for place in route.relus}
        self._grafts = {
            place: tuple(self._own(line[None], place) for line in operation.lines)
            for place, operation in operations.items()
            if isinstance(operation, Relu) and operation.lines is not None
        }
        self._centre = self._own(ball.centre, 0)
        self._radius = self._own(ball.radius, 0) if isinstance(ball.radius, Tensor) else ball.radius
        self._constant = torch.zeros(len(owners), device=first.device)
        pending: dict[int, Tensor] = {}
        if isinstance(self._graph[route.start].operation, Input | Relu):
            self._nodes, pending = route.nodes, {route.start: first}
        else:
            # What is in front of the first ReLU is the same whatever the slopes are.
            self._nodes = route.nodes[1:]
            self._constant = self._constant + self._back(route.start, first, pending)
        self._pending = pending
        self.coefficients: dict[int, Tensor] = {}
        """Of each ReLU's output, in the last bounds."""

    def _own(self, maps: Tensor, place: int) -> Tensor:
        """What each row sees (m, ...) of maps of a node (n, ...), or of one for all images (1, ...); 0 outside of them."""
        window, shared = self._route.windows[place], len(maps) == 1
        if window is None:
            return maps if shared else maps[self._owners[:1]] if self._one else maps[self._owners]
        rows, columns = self._pixels(window, maps.shape[2], maps.shape[3])
        padded = functional.pad(maps, (0, 1, 0, 1)).permute(0, 2, 3, 1).contiguous()
        owners = torch.zeros_like(self._owners) if shared else self._owners
        return padded[owners[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _line(self, place: int, keep: bool = True) -> Lines:
        """The lines above a node's ReLUs that each row sees (m, ...); to `keep` them for the next time."""
        if place in self._lines:
            return self._lines[place]
        found = Lines(*(self._own(line, place) for line in self._shared[place]))
        if keep:
            self._lines[place] = found
        return found

    def _pixels(self, window: Window, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Rows (m, h) and columns (m, w) of a window of a map; `height` and `width` where they are outside of it."""
        if window not in self._indices:
            assert self._at is not None  # Only pixels have windows.
            found = []
            for start, size, scale, shift, side in zip(self._at, *window, (height, width), strict=True):
                index = (start * scale + shift)[:, None] + torch.arange(size, device=start.device)
                found.append(torch.where((index < 0) | (index >= side), side, index))
            self._indices[window] = found[0], found[1]
        return self._indices[window]

    def _inside(self, place: int, rows: Tensor) -> Tensor:
        """Coefficients of a node, or its values, 0 where its window is outside of the map.

        Nothing to do at the start, whose pixels are all inside; a window of one pixel may be outside behind a padded one.
        """
        window = self._route.windows[place]
        if window is None or place == self._route.start:
            return rows
        height, width = self._graph[place].shape[1:]
        y, x = self._pixels(window, height, width)
        return rows * ((y < height)[:, None, :, None] & (x < width)[:, None, None, :])

    def _add(self, pending: dict[int, Tensor], place: int, window: Window | None, rows: Tensor) -> None:
        """Add coefficients of a node for a window of it to those that it has."""
        whole = self._route.windows[place]
        if window is not None and whole is not None:
            before = [a - b for a, b in zip(window.shift, whole.shift, strict=True)]
            behind = [w - n - b for w, n, b in zip(whole.size, window.size, before, strict=True)]
            if any(before) or any(behind):
                rows = functional.pad(rows, (before[1], behind[1], before[0], behind[0]))
        elif window is not None:
            channels, height, width = self._graph[place].shape
            y, x = self._pixels(window, height, width)
            empty = rows.new_zeros(len(rows), height + 1, width + 1, channels)
            number = torch.arange(len(rows), device=rows.device)[:, None, None]
            empty[number, y[:, :, None], x[:, None, :]] = rows.permute(0, 2, 3, 1)
            rows = empty[:, :-1, :-1].permute(0, 3, 1, 2)
        pending[place] = pending[place] + rows if place in pending else rows

    def _seen(self, place: int, window: Window | None, values: dict[int, Tensor]) -> Tensor:
        """The window of a node that one of its readers needs; the adjoint of `_add`."""
        whole, found = self._route.windows[place], values[place]
        if window is None or window == whole:
            return found
        if whole is not None:
            top, left = (a - b for a, b in zip(window.shift, whole.shift, strict=True))
            return found[:, :, top : top + window.size[0], left : left + window.size[1]]
        y, x = self._pixels(window, found.shape[2], found.shape[3])
        padded = functional.pad(found, (0, 1, 0, 1)).permute(0, 2, 3, 1)
        number = torch.arange(len(found), device=found.device)[:, None, None]
        return padded[number, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)

    def _back(self, place: int, rows: Tensor, pending: dict[int, Tensor]) -> Tensor:
        """Take coefficients back through an operation other than a ReLU; what it adds (m,) to the bounds."""
        node, window = self._graph[place], self._route.windows[place]
        operation, reads = node.operation, self._route.through(place)
        constant = rows.new_zeros(len(rows))
        if isinstance(operation, Convolution):
            rows = self._inside(place, rows)
            constant = rows.sum((2, 3)) @ operation.bias
            whole = None if window is not None else _pair(self._graph[node.inputs[0]].shape[1:])
            rows = operation.transposed(rows, whole)
        elif isinstance(operation, Linear):
            constant, rows = rows @ operation.bias, rows @ operation.weight
        elif isinstance(operation, Flatten):
            rows = rows.unflatten(1, self._graph[node.inputs[0]].shape)
        elif isinstance(operation, Mean):
            height, width = self._graph[node.inputs[0]].shape[1:]
            rows = (rows / (height * width))[:, :, None, None].expand(-1, -1, height, width)
        else:
            rows = self._inside(place, rows)
        for given in node.inputs:
            self._add(pending, given, reads, rows)
        return constant

    def slopes(self, begin: dict[int, Tensor] | None = None) -> dict[int, Tensor]:
        """Slopes (m, *neurons) of the lines below: CROWN's, 1 where the line above has more than 1/2, else 0.

        Those of `begin` where a ReLU is unstable, if that is given.
        """
        found = {}
        for place in self._route.relus:
            above, offset = self._line(place)
            own = (above > 0.5).to(above.dtype).expand(len(self._owners), *above.shape[1:])
            own = own if begin is None else torch.where(offset > 0, begin[place], own)
            found[place] = _channels_last(own.clone())
        return found

    def bounds(
        self, slopes: dict[int, Tensor] | None = None, betas: dict[int, Tensor] | None = None, keep: bool = False
    ) -> Tensor:
        """Lower bounds (m,), under `slopes` of the lines below, CROWN's if None; to `keep` what `gradients` needs.

        `betas` (m, *neurons) are multipliers times the signs of the ReLUs' inputs.
        """
        pending, constant = dict(self._pending), self._constant
        self.coefficients = {}
        for place in self._nodes:
            if place not in pending:
                continue
            rows, operation = pending.pop(place), self._graph[place].operation
            if isinstance(operation, Relu):
                if keep:
                    self.coefficients[place] = rows
                above, offset = self._line(place, slopes is not None)
                negative = rows.clamp(max=0)
                below = (above > 0.5).to(above.dtype) if slopes is None else slopes[place]
                constant = constant + (negative * offset).flatten(1).sum(1)
                relaxed = (rows - negative).mul_(below).addcmul_(negative, above)
                if operation.lines is not None:
                    # The ReLU's relaxation is that of its input, which is 0 where a line is.
                    kept, slope, intercept = self._grafts[place]
                    relaxed = relaxed.mul_(kept).addcmul_(rows, slope)
                    constant = constant + (rows * intercept).flatten(1).sum(1)
                if betas is not None and place in betas:
                    relaxed = relaxed - betas[place]
                self._add(pending, self._graph[place].inputs[0], self._route.windows[place], relaxed)
            elif not isinstance(operation, Input):
                constant = constant + self._back(place, rows, pending)
            else:
                self._last = rows if isinstance(self._radius, Tensor) else self._inside(place, rows)
        return constant + self._least(self._last)

    def _least(self, rows: Tensor) -> Tensor:
        """The least value (m,) of coefficients of the images over the perturbation sets."""
        inner = (rows * self._centre).flatten(1).sum(1)
        if isinstance(self._radius, Tensor):
            return inner - (rows.abs() * self._radius).flatten(1).sum(1)
        return inner - self._radius * rows.flatten(1).norm(dim=1)

    def _worst(self) -> Tensor:
        """The points (m, ...) of the perturbation sets that have the least values of the last bounds."""
        if isinstance(self._radius, Tensor):
            return self._centre - self._last.sign() * self._radius
        lengths = self._last.flatten(1).norm(dim=1).clamp_min(1e-30)
        return self._centre - self._radius * self._last / lengths.view(-1, *[1] * (self._last.dim() - 1))

    def gradients(self, slopes: dict[int, Tensor], inputs: bool = False) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Of the last bounds, which were to be kept, with respect to `slopes`; and, if wanted, what enters the ReLUs.

        The latter (m, *neurons) is minus the gradient with respect to the multipliers. What was kept is freed.
        """
        values = {0: self._worst()}
        found, entering = {}, {}
        for place in reversed(self._nodes[:-1] if self._nodes[-1] == 0 else self._nodes):
            node = self._graph[place]
            operation, reads = node.operation, self._route.through(place)
            given = [self._seen(one, reads, values) for one in node.inputs]
            if isinstance(operation, Relu):
                rows, (above, offset), below = self.coefficients.pop(place), self._line(place), slopes[place]
                (value,) = given
                if inputs:
                    entering[place] = value
                # On a CPU, `where` takes ten times as long as a product.
                positive = torch.gt(rows, 0, out=torch.empty_like(rows))
                found[place] = rows.clamp(min=0).mul_(value).mul_(offset > 0)
                out = (below - above).mul_(positive).add_(above).mul_(value).add_((1 - positive).mul_(offset))
                if place in self._grafts:
                    _, slope, intercept = self._grafts[place]
                    kept = self._grafts[place][0]
                    out = (below - above).mul_(positive).add_(above).mul_(value * kept).add_((1 - positive).mul_(offset))
                    out = out + value * slope + intercept
                    found[place] *= kept
                values[place] = out
            elif isinstance(operation, Convolution):
                values[place] = operation(given[0], padded=reads is None)
                if place in self._route.bare:
                    values[place] = self._inside(place, values[place])
            elif isinstance(operation, Linear):
                values[place] = functional.linear(given[0], operation.weight, operation.bias)
            elif isinstance(operation, Flatten):
                values[place] = given[0].flatten(1)
            elif isinstance(operation, Mean):
                values[place] = given[0].mean((2, 3))
            elif isinstance(operation, Add):
                values[place] = given[0] + given[1]
        return {place: _channels_last(gradient) for place, gradient in found.items()}, entering


def _channels_last(maps: Tensor) -> Tensor:
    """Maps (m, c, h, w) in the layout of windows, which is fast for convolutions; vectors as they are.

    (torch's fused Adam takes it for granted that a tensor and its gradient have the same.)
    """
    return maps.contiguous(memory_format=torch.channels_last) if maps.dim() == 4 else maps.contiguous()
