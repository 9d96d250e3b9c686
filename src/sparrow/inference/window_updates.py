"""A network's logits for images that change in one window after the other, recomputed only where they may differ.

The window is the same for all images. What changes in a layer's output is a window, too, a little larger after each
convolution; behind the last convolution, or once the window covers most of a map, outputs are computed whole. The logits are
those of the whole images but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from sparrow.inference.fixed_weights import RELUS, SUMS, conv2d
from sparrow.inference.window import Kernel, PaddedMaps, Pair, Window

LARGEST_SHARE = 0.5
"""Share of a map up to which only the window is computed; above it the whole map is, without copies. Chosen, not tuned."""
ConvArguments = tuple[Tensor, Tensor | None, Pair, Pair | str, Pair, int]
"""Weight, bias, stride, padding, dilation and groups of a call of `conv2d`."""
ConvNodes = tuple[fx.Node, fx.Node, Pair, Pair | str, Pair, int]
"""The arguments of a call of `conv2d` in the graph, with nodes in the place of tensors."""
ELEMENTWISE = (*RELUS, *SUMS, torch.relu_, nn.ReLU, nn.BatchNorm2d)


class WholeImages:
    """Images `points` (n, c, h, w) that change in windows, and their logits by `model`, computed from whole images."""

    def __init__(self, model: Callable[[Tensor], Tensor], points: Tensor) -> None:
        self.model, self.points = model, points

    def logits(self, window: Window, content: Tensor) -> Tensor:
        """Logits (n, classes) of the points with `content` (n or 1, c, rows, columns) in the window."""
        self._candidates = self.points.clone()
        window.of(self._candidates).copy_(content)
        return self.model(self._candidates)

    def accept(self, taken: Tensor) -> None:
        """Change the points where `taken` (n,) is True to those that the last call of `logits` evaluated."""
        self.points = torch.where(taken.view(-1, 1, 1, 1), self._candidates, self.points)

    def keep(self, which: Tensor) -> None:
        """Remove the images where `which` (n,) is False."""
        self.points = self.points[which]


class WindowUpdates:
    """As `WholeImages`, but keeps every layer's output and recomputes only the part that a change inside a window of at most
    `side` x `side` pixels can reach. The network is one that `fixed_weights` yields.

    Raises ValueError if such a change reaches most of every map, or if a layer other than a ReLU overwrites its input.
    """

    @torch.no_grad()
    def __init__(self, network: fx.GraphModule, points: Tensor, side: int) -> None:
        self._network, self._interpreter = network, fx.Interpreter(network)
        *self._nodes, self._output = network.graph.nodes
        (self._image,) = (node for node in self._nodes if node.op == "placeholder")
        self._weights = {one: getattr(network, one.target) for one in self._nodes if one.op == "get_attr"}
        self._kernels: dict[fx.Node, Kernel | None] = {}
        """Nodes whose output changes in a window only: their kernel, or None for what computes each pixel by itself."""
        self._sizes: dict[fx.Node, tuple[int, int]] = {}
        self._plan(points[:1], Window((0, side), (0, side)))
        if not self._kernels:
            raise ValueError(f"windows of {side} by {side} pixels change most of every map")
        self._maps: dict[fx.Node, PaddedMaps] = {}
        """Outputs that other nodes read beyond the window, with the changes of the last call of `logits`."""
        self._changes: list[tuple[Tensor, Tensor, Tensor]] = []
        """These changes: the window of an output (a view), its content before, and its content now."""
        self._remember(points)

    @property
    def points(self) -> Tensor:
        """The images (n, c, h, w): a view."""
        return self._maps[self._image].unpadded()

    @torch.no_grad()
    def logits(self, window: Window, content: Tensor) -> Tensor:
        """As in `WholeImages`."""
        self._restore()
        values: dict[fx.Node, Tensor] = {**self._weights}
        windows: dict[fx.Node, Window] = {}

        def write(node: fx.Node, window: Window, content: Tensor) -> None:
            windows[node], values[node] = window, content
            if node in self._maps:
                view = window.of(self._maps[node].unpadded())
                self._changes.append((view, view.clone(), content))
                view.copy_(content)

        def all_of(node: fx.Node) -> Tensor:
            return self._maps[node].unpadded() if node in windows else values[node]

        for node in self._nodes:
            if node is self._image:
                write(node, window, content)
            elif node in self._kernels:
                write(node, *self._change(node, values, windows))
            elif node not in values:
                values[node] = self._call(node, all_of)
            self._forget(node, values)
        logits = all_of(cast(fx.Node, self._output.args[0]))
        for hook in self._network._forward_hooks.values():
            changed = hook(self._network, (self.points,), logits)
            logits = logits if changed is None else changed
        return logits

    def accept(self, taken: Tensor) -> None:
        """As in `WholeImages`."""
        # Few are taken, as a rule.
        chosen, changes = taken.nonzero().squeeze(1), self._changes
        self._restore()
        for view, _, now in changes:
            view[chosen] = now[chosen]

    def keep(self, which: Tensor) -> None:
        """As in `WholeImages`."""
        self._restore()
        self._maps = {node: maps._replace(padded=maps.padded[which]) for node, maps in self._maps.items()}

    def _restore(self) -> None:
        """Undo the changes of the last call of `logits`."""
        for view, before, _ in self._changes:
            view.copy_(before)
        self._changes = []

    def _change(self, node: fx.Node, values: dict[fx.Node, Tensor], windows: dict[fx.Node, Window]) -> tuple[Window, Tensor]:
        """The window in which the output of `node` changes, and its new content."""
        sources, kernel = _inputs_of(node), self._kernels[node]
        if kernel is None:
            around = reduce(Window.around, (windows[one] for one in sources))
            return around, self._call(
                node, lambda one: values[one] if windows[one] == around else around.of(self._maps[one].unpadded())
            )
        window = kernel.output_window(windows[sources[0]], self._sizes[node])
        piece = kernel.inputs_of(window, self._maps[sources[0]])
        if node.op == "call_module":
            return window, self._network.get_submodule(cast(str, node.target))(piece)
        # The arguments of `conv2d`, as `fixed_weights` has written them into the graph.
        weight, bias, stride, _, dilation, groups = cast(ConvArguments, map_arg(node.args[1:], values.__getitem__))
        return window, conv2d(piece, weight, bias, stride, (0, 0), dilation, groups)

    def _call(self, node: fx.Node, read: Callable[[fx.Node], Tensor]) -> Tensor:
        return getattr(self._interpreter, node.op)(node.target, map_arg(node.args, read), map_arg(node.kwargs, read))

    def _forget(self, node: fx.Node, values: dict[fx.Node, Tensor]) -> None:
        """Delete the values that no node after `node` reads."""
        for one in self._interpreter.user_to_last_uses.get(node, ()):
            values.pop(one, None)

    def _plan(self, points: Tensor, window: Window) -> None:
        """Find out, from one image (1, c, h, w), which outputs change in a window only when the image changes in this one."""
        values, windows = {**self._weights, self._image: points.clone()}, {self._image: window}
        for node in self._nodes:
            if node in values:
                continue
            sources = _inputs_of(node)
            before = [getattr(values[one], "_version", None) for one in sources]
            values[node] = value = self._call(node, values.__getitem__)
            after = [getattr(values[one], "_version", None) for one in sources]
            # In a graph of `fixed_weights`, a ReLU overwrites an input that has no other reader.
            if before != after and node.target is not torch.relu_:
                raise ValueError(f"{node} overwrites what it reads")
            if not isinstance(value, Tensor) or value.dim() != 4 or not sources or any(one not in windows for one in sources):
                continue
            kernel, size = self._kernel_of(node), (value.shape[-2], value.shape[-1])
            if kernel is not None:
                reached = kernel.output_window(windows[sources[0]], size)
            elif _is_elementwise(node, self._network) and all(values[one].shape == value.shape for one in sources):
                reached = reduce(Window.around, (windows[one] for one in sources))
            else:
                continue
            if reached.pixels() <= LARGEST_SHARE * value.shape[-2:].numel():
                windows[node], self._sizes[node], self._kernels[node] = reached, size, kernel

    def _remember(self, points: Tensor) -> None:
        """Compute all maps once, and keep those that will be read beyond the window."""
        values = {**self._weights, self._image: points}
        for node in self._nodes:
            if node not in values:
                values[node] = self._call(node, values.__getitem__)
            if node is self._image or (node in self._kernels and any(map(self._reads_beyond, node.users))):
                paddings = [kernel.padding for reader in node.users if (kernel := self._kernels.get(reader))]
                rows, columns = (max(widths) for widths in zip((0, 0), *paddings, strict=True))
                self._maps[node] = PaddedMaps.copied(values[node], (rows, columns))
            self._forget(node, values)

    def _reads_beyond(self, node: fx.Node) -> bool:
        """Whether it reads more of an input than the window that changes: all of it, or pixels around the window."""
        return self._kernels.get(node) is not None or node not in self._kernels or len(_inputs_of(node)) > 1

    def _kernel_of(self, node: fx.Node) -> Kernel | None:
        """The geometry of a convolution or a pooling; None for other nodes, for padding by name and for padded pooling."""
        if node.op == "call_function" and node.target is conv2d:
            weight, _, stride, padding, dilation, _ = cast(ConvNodes, node.args[1:])
            rows, columns = self._weights[weight].shape[-2:]
            extent = dilation[0] * (rows - 1) + 1, dilation[1] * (columns - 1) + 1
            return None if isinstance(padding, str) else Kernel(extent, stride, padding)
        layer = self._network.get_submodule(cast(str, node.target)) if node.op == "call_module" else None
        if type(layer) not in (nn.MaxPool2d, nn.AvgPool2d) or not isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            return None
        if layer.ceil_mode or getattr(layer, "dilation", 1) != 1:
            return None
        kernel = Kernel(*map(_pair, (layer.kernel_size, layer.stride, layer.padding)))
        return kernel if kernel.padding == (0, 0) else None


def _pair(number: int | tuple[int, ...]) -> Pair:
    """A layer's setting as numbers for rows and columns."""
    rows, columns = (number, number) if isinstance(number, int) else number
    return rows, columns


def _inputs_of(node: fx.Node) -> list[fx.Node]:
    """The nodes whose outputs it reads, weights apart."""
    return [one for one in node.all_input_nodes if one.op != "get_attr"]


def _is_elementwise(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether each pixel of its output depends on the same pixel of its inputs alone."""
    if node.op == "call_function":
        return node.target in ELEMENTWISE and not node.kwargs
    layer = network.get_submodule(cast(str, node.target)) if node.op == "call_module" else None
    own_statistics = isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None
    return type(layer) in ELEMENTWISE and not own_statistics


def window_updates(network: fx.GraphModule, points: Tensor, side: int) -> WindowUpdates | None:
    """`WindowUpdates` of `points` (n, c, h, w) for windows of up to `side` x `side` pixels; None where only whole images do."""
    if network._forward_pre_hooks:
        return None
    try:
        return WindowUpdates(network, points, side)
    except Exception:  # Whatever its graph may hold that a plan cannot follow.
        return None
