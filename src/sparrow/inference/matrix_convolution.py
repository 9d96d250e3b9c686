"""Convolutions of tiny images as products with one matrix each, on a CPU.

Of a convolution of 16 images of 8 x 8, nearly all of the time is spent on the way to oneDNN's kernel and back, in the backward
pass most of all. As a linear layer with a matrix of zeros and repeated weights it has more arithmetic, and takes a third of
the time. The logits are the same but for rounding.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from sparrow.inference.fixed_weights import conv2d, linear
from sparrow.inference.node_outputs import node_outputs

MOST_ENTRIES = 2**17
"""Largest matrix: 512 KiB, a core's own cache. Forward and backward pass of 64 images on an EPYC, in us as a convolution and as
a matrix, by the matrix's entries: 701 and 155 (2^14, CNN-small's first layer on 8 x 8), 502 and 223 (2^15, its second), 737 and
549 (2^17), 1,070 and 1,993 (2^19)."""
MOST_WORK = 8
"""Most multiply-adds of the matrix for one of the convolution."""


class Matrix(NamedTuple):
    """A convolution that has become a matrix, with names of the network's buffers."""

    names: tuple[str, str]
    """Of the matrix (outputs, inputs) and of its bias (outputs,)."""
    convolution: tuple[str, str]
    """Of the convolution's weight and bias."""
    geometry: tuple[Any, ...]
    """Its stride, padding, dilation and groups."""
    inputs: tuple[int, ...]
    """Shape (c, h, w) of its input."""
    pixels: int
    """Pixels of one map of its output."""

    def tensors(self, buffers: dict[str, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """The matrix and its bias, from the convolution's current weight and bias in `buffers`."""
        weight, bias = (buffers[name] for name in self.convolution)
        assert weight is not None
        count = torch.Size(self.inputs).numel()
        each_input = torch.eye(count, dtype=weight.dtype, device=weight.device).view(count, *self.inputs)
        columns = conv2d(each_input, weight, None, *self.geometry).flatten(1)
        return columns.T.contiguous(), None if bias is None else bias.repeat_interleave(self.pixels)


class _Rewritten(NamedTuple):
    network: fx.GraphModule
    matrices: list[Matrix]


_rewritten: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], _Rewritten]] = WeakKeyDictionary()


@contextmanager
def matrix_convolutions(network: nn.Module, images: Tensor) -> Iterator[nn.Module]:
    """Yield an equivalent of `network`, which `fixed_weights` has yielded, for inputs shaped like `images`: with matrices in
    place of its small convolutions. The weights must not change inside the context.

    Yields `network` itself where it has no such convolution, on other devices than a CPU, and under autocast (not tried).
    """
    device = images.device.type
    if device != "cpu" or torch.is_autocast_enabled(device) or not isinstance(network, fx.GraphModule) or not len(images):
        yield network
        return
    known, shape = _rewritten.setdefault(network, {}), tuple(images.shape[1:])
    if shape not in known:
        known[shape] = _rewrite(network, images[:1].detach())
    view, matrices = known[shape]
    if not matrices:
        yield network
        return
    try:
        with torch.no_grad():
            view._buffers.update({name: network._buffers[name] for name in view._buffers if name in network._buffers})
            for one in matrices:
                view._buffers.update(zip(one.names, one.tensors(view._buffers), strict=True))
        view._forward_hooks, view._forward_pre_hooks = network._forward_hooks, network._forward_pre_hooks
        yield view
    finally:
        view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
        view._buffers.update(dict.fromkeys(view._buffers))


def _rewrite(network: fx.GraphModule, image: Tensor) -> _Rewritten:
    """A copy of `network` whose convolutions of `image` (1, c, h, w) are matrices where that is faster, and these."""
    view, matrices = fx.GraphModule(network, copy.deepcopy(network.graph)), list[Matrix]()
    graph = view.graph
    shapes = {node: output.shape for node, output in node_outputs(view, image).items()}
    for name in network._buffers:
        # A layer without a bias has None, which GraphModule does not take for a buffer.
        vars(view).pop(name, None)
        view._buffers[name] = None
    rows_of: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not conv2d:
            continue
        source, weight, bias = (cast(fx.Node, one) for one in node.args[:3])
        inputs, outputs = shapes[source][1:], shapes[node][1:]
        if not _is_faster(inputs, outputs, shapes[weight]):
            continue
        names = f"matrix_{len(matrices)}_weight", f"matrix_{len(matrices)}_bias"
        for name in names:
            view.register_buffer(name, None, persistent=False)
        convolution = str(weight.target), str(bias.target)
        matrices.append(Matrix(names, convolution, node.args[3:], tuple(inputs), outputs[1:].numel()))
        maps, rows = _replace(node, names, tuple(outputs))
        rows_of[maps], shapes[maps] = rows, torch.Size((1, *outputs))
    for maps, rows in rows_of.items():
        if all(map(_flattens, maps.users)):
            for reader in list(maps.users):
                reader.replace_all_uses_with(rows)
                graph.erase_node(reader)
            graph.erase_node(maps)
    view.recompile()
    return _Rewritten(view, matrices)


def _is_faster(inputs: torch.Size, outputs: torch.Size, weight: torch.Size) -> bool:
    """Whether a convolution from `inputs` (c, h, w) to `outputs` with this weight is to become a matrix."""
    if len(inputs) != 3:
        return False
    entries = inputs.numel() * outputs.numel()
    return entries <= MOST_ENTRIES and entries <= MOST_WORK * outputs.numel() * weight[1:].numel()


def _replace(node: fx.Node, names: tuple[str, str], outputs: tuple[int, ...]) -> tuple[fx.Node, fx.Node]:
    """Put a product with the matrix of these names in the place of a convolution, and of a ReLU that overwrites its output.

    Returns the node of the maps (n, *outputs), and that of the rows (n, outputs) of which they are a view.
    """
    graph, readers = node.graph, list(node.users)
    with graph.inserting_before(node):
        flat = graph.call_function(torch.flatten, (node.args[0], 1))
        rows = graph.call_function(linear, (flat, *map(graph.get_attr, names)))
    replaced = [node]
    if len(readers) == 1 and readers[0].target is torch.relu_:
        # Before the rows are shaped: what is overwritten through a view, autograd copies.
        replaced.append(readers[0])
        with graph.inserting_before(node):
            rows = graph.call_function(torch.relu_, (rows,))
    with graph.inserting_before(node):
        maps = graph.call_function(torch.unflatten, (rows, 1, outputs))
    for one in reversed(replaced):
        one.replace_all_uses_with(maps)
        graph.erase_node(one)
    return maps, rows


def _flattens(node: fx.Node) -> bool:
    """Whether it gives the rows (n, c * h * w) of what it reads."""
    if node.op == "call_module":
        layer = cast(nn.Module, node.graph.owning_module).get_submodule(cast(str, node.target))
        return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)
    return node.op == "call_function" and node.target is torch.flatten and node.args[1:] == (1,) and not node.kwargs
