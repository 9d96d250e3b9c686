"""A network as a graph of affine operations and ReLUs, in the form in which CROWN goes back through it.

torch.fx traces the network; batch norms and normalisations become convolutions (behind a convolution or a linear layer that
nobody else reads, its weights), an average over the map stays one. A network of anything else has no such graph, and is left
to auto_LiRPA.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from sparrow.networks.grafting import Grafted
from sparrow.networks.modes import eval_mode
from sparrow.networks.normalise_layer import Normalise
from sparrow.verification.memory import out_of_memory

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
SUMS = (operator.add, operator.iadd, torch.add)
RELUS = (torch.relu, functional.relu)
SAME = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""Layers that change nothing in eval mode."""
Pair = tuple[int, int]
IMAGES = 4
"""Random images on which a graph has to give the network's logits, besides the one that it is traced with."""
TOLERANCE = 1e-3
"""Largest difference of a logit up to which they count as the same, relative to the largest logit."""


@dataclass(frozen=True)
class Input:
    """The images."""


@dataclass(frozen=True)
class Convolution:
    """A convolution with zero padding, and its bias (channels,)."""

    weight: Tensor
    bias: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def __call__(self, maps: Tensor, padded: bool = True) -> Tensor:
        """Its output for maps (n, c, h, w); of maps that are `padded` no more, windows of a larger map."""
        padding = self.padding if padded else (0, 0)
        return functional.conv2d(maps, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def weighed(self, weight: Tensor) -> Convolution:
        """The same convolution with another weight, and without a bias."""
        return replace(self, weight=weight, bias=torch.zeros_like(self.bias))

    def reach(self, size: Pair) -> Pair:
        """Height and width of what `size` outputs read."""
        kernel = self.weight.shape[2:]
        sides = zip(size, self.stride, self.dilation, kernel, strict=True)
        return cast(Pair, tuple((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in sides))

    def transposed(self, rows: Tensor, size: Pair | None = None) -> Tensor:
        """Rows (m, *output) times its matrix: for inputs of height and width `size`; for all that a window reads, if None."""
        if size is None:
            padding, rest = (0, 0), (0, 0)
        else:
            # Rows and columns at the end that no kernel reaches.
            reach = self.reach(cast(Pair, tuple(rows.shape[2:])))
            padding = self.padding
            rest = cast(Pair, tuple(n - (r - 2 * p) for n, r, p in zip(size, reach, padding, strict=True)))
        return functional.conv_transpose2d(rows, self.weight, None, self.stride, padding, rest, self.groups, self.dilation)


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Relu:
    """ReLUs, some of which may be lines: `relu(x kept) + slope x + intercept`, all (*neurons); None where there are none."""

    lines: tuple[Tensor, Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Add:
    """A sum of two outputs of the same shape."""


@dataclass(frozen=True)
class Flatten:
    """A map as a vector."""


@dataclass(frozen=True)
class Mean:
    """The average over each channel's map, a vector."""


Operation = Input | Convolution | Linear | Relu | Add | Flatten | Mean


@dataclass(frozen=True)
class Node:
    """An operation, the places of the nodes that it reads, and the shape of its output without the batch."""

    operation: Operation
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


Graph = list[Node]
"""Nodes in the order in which they are computed, the images first and the logits last."""


class Unsupported(Exception):
    """A network has a part that no graph has."""


def computed(graph: Graph, images: Tensor) -> list[Tensor]:
    """The outputs (n, *neurons) of all nodes of `graph` in their order, for images (n, c, h, w); the last are the logits."""
    found = [images]
    for node in graph[1:]:
        found.append(_output(node.operation, [found[given] for given in node.inputs]))
    return found


def _output(operation: Operation, given: list[Tensor]) -> Tensor:
    value = given[0]
    if isinstance(operation, Convolution):
        return operation(value)
    if isinstance(operation, Linear):
        return functional.linear(value, operation.weight, operation.bias)
    if isinstance(operation, Relu):
        if operation.lines is None:
            return value.relu()
        kept, slope, intercept = operation.lines
        return (value * kept).relu() + value * slope + intercept
    if isinstance(operation, Flatten):
        return value.flatten(1)
    return value.mean((2, 3)) if isinstance(operation, Mean) else value + given[1]


def traced(model: nn.Module, image: Tensor) -> Graph | None:
    """The graph of `model` in eval mode for images shaped like `image` (1, c, h, w); None where it cannot be had.

    A graph has to give the network's logits for the image and a few random ones, but for rounding: a trace may mistake, say,
    what is overwritten in place and read again. Errors for want of memory pass.
    """
    inside = [module for module in model.modules() if module is not model]
    if any(module._forward_hooks or module._forward_pre_hooks for module in inside) or image.dim() != 4:
        return None
    with eval_mode(model), torch.no_grad():
        try:
            graph = _Conversion(model, image.clone()).graph
            return graph if _gives_the_same_logits(graph, model, image) else None
        except Exception as error:  # Whatever torch.fx raises about what it cannot follow.
            if out_of_memory(error):
                raise
            return None


def _gives_the_same_logits(graph: Graph, model: nn.Module, image: Tensor) -> bool:
    random = torch.rand(IMAGES, *image.shape[1:], generator=torch.Generator().manual_seed(0))
    images = torch.cat([image, random.to(image)])
    found, expected = computed(graph, images)[-1], model(images.clone())
    if found.shape != expected.shape or expected.dim() != 2:
        return False
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


class _Tracer(fx.Tracer):
    """Takes layers of fixed form for leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Grafted | Normalise) or super().is_leaf_module(m, module_qualified_name)


class _Conversion:
    """The graph of a traced network, with the output of each node for one image, computed on the way."""

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        traced = _Tracer().trace(model)
        self._modules = dict(model.named_modules())
        self.graph: Graph = []
        self._values: list[Tensor] = []
        self._places: dict[fx.Node, int] = {}
        for node in traced.nodes:
            if node.op == "placeholder":
                if self.graph:
                    raise Unsupported
                self._places[node] = self._add(Input(), (), image)
            elif node.op == "output":
                last = self._places[cast(fx.Node, node.args[0])]
            elif node.op != "get_attr":
                self._convert(node)
        read = {given for node in self.graph for given in node.inputs}
        if last != len(self.graph) - 1 or len(read) != last:
            raise Unsupported  # Something is computed in vain.

    def _add(self, operation: Operation, inputs: tuple[int, ...], value: Tensor) -> int:
        self.graph.append(Node(operation, inputs, tuple(value.shape[1:])))
        self._values.append(value)
        return len(self.graph) - 1

    def _convert(self, node: fx.Node) -> None:
        layer = self._modules.get(str(node.target)) if node.op == "call_module" else None
        name = str(node.target) if node.op == "call_method" else ""
        if name == "size" or node.target is getattr or (node.target is operator.getitem and node.args[0] not in self._places):
            return  # A shape, or a side of one; what reads it is judged by its own.
        given = self._places[cast(fx.Node, node.args[0])]
        value = self._values[given]
        if isinstance(layer, BatchNorm) and type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
            self._norm(node, layer, given)
            return
        if layer is not None:
            self._layer(node, layer, given)
        elif node.target in RELUS or name == "relu":
            self._places[node] = self._add(Relu(), (given,), value.relu())
        elif node.target in SUMS:
            other = self._places[cast(fx.Node, node.args[1])]
            if self._values[other].shape != value.shape or node.kwargs:
                raise Unsupported
            self._places[node] = self._add(Add(), (given, other), value + self._values[other])
        elif name in ("flatten", "view", "reshape") or node.target is torch.flatten:
            arguments: list[Any] = [1 if isinstance(one, fx.Node) else one for one in node.args[1:]]
            flat = (
                value.flatten(*arguments, **cast(dict[str, Any], node.kwargs))
                if "flatten" in str(node.target)
                else value.reshape(*arguments)
            )
            self._flatten(node, given, flat)
        elif name == "mean" or node.target is torch.mean:
            dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
            if value.dim() != 4 or dims not in ((2, 3), [2, 3], (-2, -1), (-1, -2)) or set(node.kwargs) - {"dim"}:
                raise Unsupported
            self._places[node] = self._add(Mean(), (given,), value.mean((2, 3)))
        else:
            raise Unsupported

    def _flatten(self, node: fx.Node, given: int, flat: Any) -> None:
        if not torch.equal(flat, self._values[given].flatten(1)):
            raise Unsupported
        self._places[node] = self._add(Flatten(), (given,), flat)

    def _layer(self, node: fx.Node, layer: nn.Module, given: int) -> None:
        value = self._values[given]
        operation: Operation
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            geometry = cast(tuple[Pair, Pair, Pair], (layer.stride, layer.padding, layer.dilation))
            operation = Convolution(layer.weight.detach(), bias.detach(), *geometry, layer.groups)
            out = operation(value)
        elif type(layer) is nn.Linear and value.dim() == 2:
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            operation = Linear(layer.weight.detach(), bias.detach())
            out = layer(value)
        elif type(layer) is Normalise:
            operation = Convolution(layer.scale, layer.bias, (1, 1), (0, 0), (1, 1), 1)
            out = operation(value)
        elif type(layer) is nn.ReLU or type(layer) is Grafted:
            lines = (layer.kept, layer.slope.detach(), layer.intercept.detach()) if isinstance(layer, Grafted) else None
            operation, out = Relu(lines), layer(value.clone())
        elif type(layer) is nn.Flatten:
            self._flatten(node, given, layer(value))
            return
        elif type(layer) in SAME:
            self._places[node] = given
            return
        elif type(layer) is nn.AdaptiveAvgPool2d and layer.output_size in (1, (1, 1)):
            # Its one pixel is flattened behind it, which changes nothing.
            self._places[node] = self._add(Mean(), (given,), layer(value).flatten(1))
            return
        else:
            raise Unsupported
        self._places[node] = self._add(operation, (given,), out)

    def _norm(self, node: fx.Node, layer: BatchNorm, given: int) -> None:
        """Fold a batch norm into what stands before it, where nobody else reads that; else it is a convolution of 1 x 1."""
        if layer.running_mean is None or layer.running_var is None:
            raise Unsupported
        before = self.graph[given].operation
        scale = torch.ones_like(layer.running_mean) if layer.weight is None else layer.weight.detach()
        shift = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach()
        statistics = layer.running_mean, layer.running_var, layer.eps, scale, shift
        value = layer(self._values[given])
        read = cast(fx.Node, node.args[0])
        alone = len(read.users) == 1 and isinstance(self._modules.get(str(read.target)), nn.Conv2d | nn.Linear)
        operation: Operation
        if alone and isinstance(before, Convolution):
            weight, bias = fuse_conv_bn_weights(before.weight, before.bias, *statistics)
            operation = Convolution(
                weight.detach(), bias.detach(), before.stride, before.padding, before.dilation, before.groups
            )
        elif alone and isinstance(before, Linear):
            weight, bias = fuse_linear_bn_weights(before.weight, before.bias, *statistics)
            operation = Linear(weight.detach(), bias.detach())
        elif value.dim() == 4:
            ones = scale.new_ones(len(scale), 1, 1, 1)
            weight, bias = fuse_conv_bn_weights(ones, torch.zeros_like(scale), *statistics)
            operation = Convolution(weight.detach(), bias.detach(), (1, 1), (0, 0), (1, 1), len(scale))
            self._places[node] = self._add(operation, (given,), value)
            return
        else:
            raise Unsupported
        self.graph[given] = Node(operation, self.graph[given].inputs, self.graph[given].shape)
        self._values[given] = value
        self._places[node] = given
