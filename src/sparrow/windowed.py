"""A network's logits of images that change in one window after the other, computed again only where they may differ.

The window is the same for all images. What changes in a layer's output is a window, too, a little larger after each
convolution; behind the last of them, or once it covers most of a map, all is computed as ever. The logits are those of the
whole images but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from sparrow.frozen import RELUS, SUMS, conv2d
from sparrow.windows import Framed, Sliding, Window

MOST = 0.5
"""Share of a map that a window covers at most: beyond, copies cost about what is saved."""
ELEMENTWISE = (*RELUS, *SUMS, torch.relu_, nn.ReLU, nn.BatchNorm2d)


class Whole:
    """Images (n, c, h, w) that change in windows, and a `model` that looks at all of each."""

    def __init__(self, model: Callable[[Tensor], Tensor], points: Tensor) -> None:
        self.model, self.points = model, points

    def look(self, window: Window, content: Tensor) -> Tensor:
        """Logits (n, classes) of the points as if they had `content` in the window."""
        self._tried = self.points.clone()
        window.of(self._tried).copy_(content)
        return self.model(self._tried)

    def settle(self, taken: Tensor) -> None:
        """Have the points be as just looked at where `taken` (n,) is True."""
        self.points = torch.where(taken.view(-1, 1, 1, 1), self._tried, self.points)

    def keep(self, which: Tensor) -> None:
        """Go on with the images where `which` (n,) is True."""
        self.points = self.points[which]


class Windowed:
    """The same for a network as `sparrow.frozen` gives it, whose maps are remembered; windows are up to `side` pixels wide."""

    @torch.no_grad()
    def __init__(self, network: fx.GraphModule, points: Tensor, side: int) -> None:
        self._network, self._interpreter = network, fx.Interpreter(network)
        *self._nodes, self._output = network.graph.nodes
        (self._image,) = (node for node in self._nodes if node.op == "placeholder")
        self._slidings: dict[fx.Node, Sliding | None] = {}
        """Nodes whose output changes in a window, and how that comes about; None: pixel by pixel."""
        self._sizes: dict[fx.Node, tuple[int, int]] = {}
        self._maps: dict[fx.Node, Framed] = {}
        """Outputs that others read beyond the window, as they are with what was just looked at."""
        self._changes: list[tuple[Tensor, Tensor, Tensor]] = []
        """Views of them, what was there before, and what is there now."""
        self._values = {one: getattr(network, one.target) for one in self._nodes if one.op == "get_attr"}
        self._windows: dict[fx.Node, Window] = {}
        self._plan(points, Window((0, side), (0, side)))

    @property
    def points(self) -> Tensor:
        return self._maps[self._image].inner()

    @torch.no_grad()
    def look(self, window: Window, content: Tensor) -> Tensor:
        self._put_back()
        self._windows = {}
        values = self._values = {node: value for node, value in self._values.items() if node.op == "get_attr"}
        for node in self._nodes:
            if node is self._image:
                self._write(node, window, content)
            elif node in self._slidings:
                self._write(node, *self._change(node))
            elif node not in values:
                values[node] = self._call(node, self._all_of)
        logits = values[self._output.args[0]]
        for hook in self._network._forward_hooks.values():
            changed = hook(self._network, (self.points,), logits)
            logits = logits if changed is None else changed
        return logits

    def settle(self, taken: Tensor) -> None:
        # Few are taken, as a rule.
        chosen, changes = taken.nonzero().squeeze(1), self._changes
        self._put_back()
        for view, _, now in changes:
            view[chosen] = now[chosen]

    def _put_back(self) -> None:
        for view, before, _ in self._changes:
            view.copy_(before)
        self._changes = []

    def keep(self, which: Tensor) -> None:
        self._put_back()
        self._maps = {node: maps._replace(framed=maps.framed[which]) for node, maps in self._maps.items()}

    def _write(self, node: fx.Node, window: Window, content: Tensor) -> None:
        self._windows[node], self._values[node] = window, content
        if node in self._maps:
            view = window.of(self._maps[node].inner())
            self._changes.append((view, view.clone(), content))
            view.copy_(content)

    def _change(self, node: fx.Node) -> tuple[Window, Tensor]:
        """The window in which `node` changes, and what is in it then."""
        sources, sliding = _read_by(node), self._slidings[node]
        if sliding is None:
            window = reduce(Window.around, (self._windows[one] for one in sources))
            return window, self._call(node, lambda one: self._part_of(one, window))
        window = sliding.reached(self._windows[sources[0]], self._sizes[node])
        piece = sliding.needed(window, self._maps[sources[0]])
        if node.op == "call_module":
            return window, self._network.get_submodule(node.target)(piece)
        weight, bias, stride, _, dilation, groups = map_arg(node.args[1:], self._values.__getitem__)
        return window, conv2d(piece, weight, bias, stride, (0, 0), dilation, groups)

    def _part_of(self, node: fx.Node, window: Window) -> Tensor:
        return self._values[node] if self._windows[node] == window else window.of(self._maps[node].inner())

    def _all_of(self, node: fx.Node) -> Tensor:
        # A copy of what is remembered, since a layer may overwrite what it reads.
        return self._maps[node].inner().clone() if node in self._windows else self._values[node]

    def _call(self, node: fx.Node, read: Callable[[fx.Node], Tensor]) -> Tensor:
        return getattr(self._interpreter, node.op)(node.target, map_arg(node.args, read), map_arg(node.kwargs, read))

    def _plan(self, points: Tensor, window: Window) -> None:
        """Find out what changes in windows only, when the images do in this one, and remember what will be read beyond them."""
        values, windows = {**self._values, self._image: points}, {self._image: window}
        for node in self._nodes:
            if node in values:
                continue
            values[node] = value = self._call(node, values.__getitem__)
            sources = _read_by(node)
            if value.dim() != 4 or not sources or any(one not in windows for one in sources):
                continue
            sliding, size = self._sliding(node), tuple(value.shape[-2:])
            if sliding is not None:
                window = sliding.reached(windows[sources[0]], size)
            elif _is_elementwise(node, self._network) and all(values[one].shape == value.shape for one in sources):
                window = reduce(Window.around, (windows[one] for one in sources))
            else:
                continue
            if window.pixels() <= MOST * value.shape[-2:].numel():
                windows[node], self._sizes[node], self._slidings[node] = window, size, sliding
        for node in windows:
            if node is self._image or any(self._reads_beyond(reader) for reader in node.users):
                paddings = [sliding.padding for reader in node.users if (sliding := self._slidings.get(reader))]
                frame = tuple(max(widths) for widths in zip((0, 0), *paddings, strict=True))
                self._maps[node] = Framed.around(values[node], frame)

    def _reads_beyond(self, node: fx.Node) -> bool:
        """Whether it reads more than a window that changes: all, what is around it, or a larger one."""
        return self._slidings.get(node) is not None or node not in self._slidings or len(_read_by(node)) > 1

    def _sliding(self, node: fx.Node) -> Sliding | None:
        """How a convolution or a pooling goes over its input; None for other nodes, and for those that pad oddly."""
        if node.op == "call_function" and node.target is conv2d:
            _, weight, _, stride, padding, dilation, _ = node.args
            sides = self._values[weight].shape[-2:]
            extent = tuple(hole * (side - 1) + 1 for hole, side in zip(dilation, sides, strict=True))
            return None if isinstance(padding, str) else Sliding(extent, stride, padding)
        layer = self._network.get_submodule(node.target) if node.op == "call_module" else None
        if type(layer) not in (nn.MaxPool2d, nn.AvgPool2d) or layer.ceil_mode or getattr(layer, "dilation", 1) != 1:
            return None
        pairs = (one if isinstance(one, tuple) else (one, one) for one in (layer.kernel_size, layer.stride, layer.padding))
        sliding = Sliding(*pairs)
        return sliding if sliding.padding == (0, 0) else None


def _read_by(node: fx.Node) -> list[fx.Node]:
    """What it reads, without weights."""
    return [one for one in node.all_input_nodes if one.op != "get_attr"]


def _is_elementwise(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether a pixel of its output depends on that pixel alone, and nothing is overwritten that others read."""
    if node.op == "call_function":
        return node.target in ELEMENTWISE and not node.kwargs
    layer = network.get_submodule(node.target) if node.op == "call_module" else None
    own_statistics = isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None
    return type(layer) in ELEMENTWISE and not own_statistics and not getattr(layer, "inplace", False)


@torch.no_grad()
def looked_at(model: nn.Module, points: Tensor, side: int) -> Windowed | Whole:
    """`model` at `points` (n, c, h, w), of which windows of up to `side` pixels change; without memory if it has to be."""
    if isinstance(model, fx.GraphModule) and not model._forward_pre_hooks:
        known, window = Windowed(model, points, side), Window((0, side), (0, side))
        content = 1 - window.of(points)
        found, expected = known.look(window, content), Whole(model, points).look(window, content)
        # Layers may do what their graph does not show. In bfloat16, kernels for other shapes round otherwise.
        tolerance = 0.05 if torch.is_autocast_enabled(points.device.type) else 1e-3
        if torch.allclose(found, expected, rtol=0, atol=tolerance * float(expected.abs().max())):
            known.settle(torch.zeros(len(points), dtype=torch.bool, device=points.device))
            return known
    return Whole(model, points)
