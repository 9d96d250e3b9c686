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

from sparrow.inference.fixed_weights import RELUS, SUMS, conv2d
from sparrow.inference.window import Framed, Sliding, Window

MOST = 0.5
"""Share of a map that a window covers at most; a larger one is computed whole, without the copies. Chosen, not tuned."""
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
    """As `Whole`, but keeps every layer's output and recomputes only the part that a change inside a window of at most `side` x
    `side` pixels can reach. The network is one that `sparrow.inference.fixed_weights` gave.

    Raises ValueError if there is nothing to gain, or if a layer overwrites what it reads.
    """

    @torch.no_grad()
    def __init__(self, network: fx.GraphModule, points: Tensor, side: int) -> None:
        self._network, self._interpreter = network, fx.Interpreter(network)
        *self._nodes, self._output = network.graph.nodes
        (self._image,) = (node for node in self._nodes if node.op == "placeholder")
        self._weights = {one: getattr(network, one.target) for one in self._nodes if one.op == "get_attr"}
        self._slidings: dict[fx.Node, Sliding | None] = {}
        """Nodes whose output changes in a window, and how that comes about; None: pixel by pixel."""
        self._sizes: dict[fx.Node, tuple[int, int]] = {}
        self._plan(points[:1], Window((0, side), (0, side)))
        if not self._slidings:
            raise ValueError(f"windows of {side} by {side} pixels change most of every map")
        self._maps: dict[fx.Node, Framed] = {}
        """Outputs that others read beyond the window, as they are with what was just looked at."""
        self._changes: list[tuple[Tensor, Tensor, Tensor]] = []
        """Views of them, what was there before, and what is there now."""
        self._remember(points)

    @property
    def points(self) -> Tensor:
        return self._maps[self._image].inner()

    @torch.no_grad()
    def look(self, window: Window, content: Tensor) -> Tensor:
        self._put_back()
        values, windows = {**self._weights}, {}

        def write(node: fx.Node, window: Window, content: Tensor) -> None:
            windows[node], values[node] = window, content
            if node in self._maps:
                view = window.of(self._maps[node].inner())
                self._changes.append((view, view.clone(), content))
                view.copy_(content)

        def all_of(node: fx.Node) -> Tensor:
            return self._maps[node].inner() if node in windows else values[node]

        for node in self._nodes:
            if node is self._image:
                write(node, window, content)
            elif node in self._slidings:
                write(node, *self._change(node, values, windows))
            elif node not in values:
                values[node] = self._call(node, all_of)
            self._forget(node, values)
        logits = all_of(self._output.args[0])
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

    def keep(self, which: Tensor) -> None:
        self._put_back()
        self._maps = {node: maps._replace(framed=maps.framed[which]) for node, maps in self._maps.items()}

    def _put_back(self) -> None:
        for view, before, _ in self._changes:
            view.copy_(before)
        self._changes = []

    def _change(self, node: fx.Node, values: dict[fx.Node, Tensor], windows: dict[fx.Node, Window]) -> tuple[Window, Tensor]:
        """The window in which `node` changes, and what is in it then."""
        sources, sliding = _read_by(node), self._slidings[node]
        if sliding is None:
            around = reduce(Window.around, (windows[one] for one in sources))
            return around, self._call(
                node, lambda one: values[one] if windows[one] == around else around.of(self._maps[one].inner())
            )
        window = sliding.reached(windows[sources[0]], self._sizes[node])
        piece = sliding.needed(window, self._maps[sources[0]])
        if node.op == "call_module":
            return window, self._network.get_submodule(node.target)(piece)
        weight, bias, stride, _, dilation, groups = map_arg(node.args[1:], values.__getitem__)
        return window, conv2d(piece, weight, bias, stride, (0, 0), dilation, groups)

    def _call(self, node: fx.Node, read: Callable[[fx.Node], Tensor]) -> Tensor:
        return getattr(self._interpreter, node.op)(node.target, map_arg(node.args, read), map_arg(node.kwargs, read))

    def _forget(self, node: fx.Node, values: dict[fx.Node, Tensor]) -> None:
        """Let go of what nobody reads after `node`."""
        for one in self._interpreter.user_to_last_uses.get(node, ()):
            values.pop(one, None)

    def _plan(self, points: Tensor, window: Window) -> None:
        """Find out, from one image, what changes in windows only when the images do in this one."""
        values, windows = {**self._weights, self._image: points.clone()}, {self._image: window}
        for node in self._nodes:
            if node in values:
                continue
            sources = _read_by(node)
            before = [getattr(values[one], "_version", None) for one in sources]
            values[node] = value = self._call(node, values.__getitem__)
            after = [getattr(values[one], "_version", None) for one in sources]
            # `frozen` has ReLUs overwrite what nobody else reads.
            if before != after and node.target is not torch.relu_:
                raise ValueError(f"{node} overwrites what it reads")
            if not isinstance(value, Tensor) or value.dim() != 4 or not sources or any(one not in windows for one in sources):
                continue
            sliding, size = self._sliding(node), tuple(value.shape[-2:])
            if sliding is not None:
                reached = sliding.reached(windows[sources[0]], size)
            elif _is_elementwise(node, self._network) and all(values[one].shape == value.shape for one in sources):
                reached = reduce(Window.around, (windows[one] for one in sources))
            else:
                continue
            if reached.pixels() <= MOST * value.shape[-2:].numel():
                windows[node], self._sizes[node], self._slidings[node] = reached, size, sliding

    def _remember(self, points: Tensor) -> None:
        """Compute all maps once, and keep those that will be read beyond the window."""
        values = {**self._weights, self._image: points}
        for node in self._nodes:
            if node not in values:
                values[node] = self._call(node, values.__getitem__)
            if node is self._image or (node in self._slidings and any(map(self._reads_beyond, node.users))):
                paddings = [sliding.padding for reader in node.users if (sliding := self._slidings.get(reader))]
                frame = tuple(max(widths) for widths in zip((0, 0), *paddings, strict=True))
                self._maps[node] = Framed.around(values[node], frame)
            self._forget(node, values)

    def _reads_beyond(self, node: fx.Node) -> bool:
        """Whether it reads more than a window that changes: all, what is around it, or a larger one."""
        return self._slidings.get(node) is not None or node not in self._slidings or len(_read_by(node)) > 1

    def _sliding(self, node: fx.Node) -> Sliding | None:
        """How a convolution or a pooling goes over its input; None for other nodes, and for those that pad oddly."""
        if node.op == "call_function" and node.target is conv2d:
            _, weight, _, stride, padding, dilation, _ = node.args
            sides = self._weights[weight].shape[-2:]
            extent = tuple(hole * (side - 1) + 1 for hole, side in zip(dilation, sides, strict=True))
            return None if isinstance(padding, str) else Sliding(extent, stride, padding)
        layer = self._network.get_submodule(node.target) if node.op == "call_module" else None
        if type(layer) not in (nn.MaxPool2d, nn.AvgPool2d) or layer.ceil_mode or getattr(layer, "dilation", 1) != 1:
            return None
        numbers = layer.kernel_size, layer.stride, layer.padding
        sliding = Sliding(*((one, one) if isinstance(one, int) else tuple(one) for one in numbers))
        return sliding if sliding.padding == (0, 0) else None


def _read_by(node: fx.Node) -> list[fx.Node]:
    """What it reads, without weights."""
    return [one for one in node.all_input_nodes if one.op != "get_attr"]


def _is_elementwise(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether a pixel of its output depends on that pixel alone."""
    if node.op == "call_function":
        return node.target in ELEMENTWISE and not node.kwargs
    layer = network.get_submodule(node.target) if node.op == "call_module" else None
    own_statistics = isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None
    return type(layer) in ELEMENTWISE and not own_statistics


def windowed(network: fx.GraphModule, points: Tensor, side: int) -> Windowed | None:
    """`network` at `points` (n, c, h, w), of which windows of up to `side` pixels change; None if it has to see them whole."""
    if network._forward_pre_hooks:
        return None
    try:
        return Windowed(network, points, side)
    except Exception:  # Whatever its graph may hold that a plan cannot follow.
        return None
