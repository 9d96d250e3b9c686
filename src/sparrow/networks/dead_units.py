"""Which units of a network cannot matter: those that are the same for every image, and those that no logit depends on.

A unit is a channel of a convolution or a neuron of a linear layer, in eval mode. Forwards, a unit is constant if all its
weights from units that are not are zero; batch norms, ReLUs, pooling, additions, flattening and depthwise convolutions hand
constants on. Backwards, a unit is kept if a kept unit reads it and it is no constant that can be folded into what reads it.
Units that residual additions or depthwise convolutions join go together or not at all. What no rule here can follow keeps all
that it reads and all that it puts out.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sparrow.networks.channel_graph import is_depthwise
from sparrow.networks.dropout import Dropout
from sparrow.networks.grafting import Grafted
from sparrow.networks.normalise_layer import Normalise
from sparrow.networks.pooled_by_four import PooledByFour

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
NORM_DIMENSIONS: dict[type[nn.Module], int] = {nn.BatchNorm1d: 2, nn.BatchNorm2d: 4}
ELEMENTWISE = {
    *(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Hardtanh, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid),
    *(nn.SELU, nn.CELU, nn.Mish, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Identity, nn.Dropout, nn.Dropout2d, Dropout),
    *(torch.relu, functional.relu, torch.tanh, torch.sigmoid, "relu", "tanh", "sigmoid"),
    *(functional.leaky_relu, functional.relu6, functional.hardtanh, functional.elu, functional.gelu, functional.silu),
    *(functional.softplus, functional.mish, functional.hardswish, functional.hardsigmoid),
}
"""Layers, functions and methods whose outputs each depend on one input alone; dropout in eval mode is one of them."""
POOLS: set[object] = {
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, PooledByFour),
    *(functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d),
}
FLATTENINGS = {nn.Flatten, torch.flatten, "flatten"}
SUMS = {operator.add, operator.iadd, torch.add, "add"}
MEANS = {torch.mean, "mean"}
BESIDES = (Dropout, Grafted, Normalise, PooledByFour)
"""Layers that are followed as a whole, as torch's own are."""


class Signal(NamedTuple):
    """What a node of the graph puts out."""

    value: Tensor
    """For an image of zeros (1, units, ...); behind a flattening, all entries of the first unit come first."""
    constant: Tensor
    """Whether each entry (units, ...) is the same for every image."""
    stream: int
    """Number of the stream that it belongs to: signals with the same units, which are kept or not in all of them."""

    def constant_units(self) -> Tensor:
        """Whether all entries of a unit (units,) are constant."""
        return self.constant.flatten(1).all(1)


class Inputs(NamedTuple):
    """What a layer reads, by channel of a convolution and by entry of a linear layer (inputs,)."""

    folds: Tensor
    """Whether it is a constant that can be folded into the layer: one number, not a map."""
    value: Tensor
    """That number (float64), 0 where there is none."""
    carrier: int | None
    """The constant that others are folded into, the largest, where the layer sees less of them at the border; None without."""


class Reader(NamedTuple):
    """A convolution or linear layer: what it reads, and the streams of that and of what it puts out."""

    name: str
    layer: nn.Conv2d | nn.Linear
    inputs: Inputs
    source: int
    target: int


class Tied(NamedTuple):
    """A layer with parameters for each of the `units` entries of the second axis of what it reads, in one stream."""

    name: str
    layer: BatchNorm | Grafted | nn.Conv2d | nn.PReLU
    units: int
    stream: int


class Units(NamedTuple):
    """The layers whose parameters belong to units, and which units (units,) of each stream are kept."""

    readers: list[Reader]
    tied: list[Tied]
    kept: dict[int, Tensor]


def units(model: nn.Module, image: Tensor) -> Units:
    """The units of `model`, which is in eval mode, for images shaped like `image` (1, c, h, w), zeros.

    Raises whatever torch.fx does if it cannot follow the network.
    """
    walk = _Walk(model)
    walk.run(image)
    readers = [one._replace(source=walk.root(one.source), target=walk.root(one.target)) for one in walk.readers]
    tied = [one._replace(stream=walk.root(one.stream)) for one in walk.tied]
    return Units(readers, tied, _kept(readers, walk.whole()))


def spread(kept: Tensor, entries: int) -> Tensor:
    """The mask `kept` of units (units,) as that of as many `entries`, each unit's next to each other."""
    return kept.repeat_interleave(entries // len(kept))


def nonzero_pairs(weight: Tensor) -> Tensor:
    """Whether any weight between an output and an input (outputs, inputs) of a layer is not zero."""
    nonzero = weight.detach() != 0
    return nonzero.flatten(2).any(2) if nonzero.dim() > 2 else nonzero


def sees_border(layer: nn.Conv2d) -> bool:
    """Whether the layer reads zeros beside its maps, so that what a constant gives is another number at the border."""
    if layer.padding_mode != "zeros" or layer.padding == "valid":
        return False
    reach = [size - 1 for size in layer.kernel_size] if isinstance(layer.padding, str) else layer.padding
    return any(side > 0 for side in reach)


def _kept(readers: list[Reader], kept: dict[int, Tensor]) -> dict[int, Tensor]:
    """Which units each stream keeps, given those (`kept`) that it keeps in any case: the fewest that fit together."""
    read = [nonzero_pairs(one.layer.weight) for one in readers]
    while True:
        before = {stream: int(mask.sum()) for stream, mask in kept.items()}
        for one, nonzero in zip(reversed(readers), reversed(read), strict=True):
            kept[one.source] = kept[one.source] | _wanted(one, nonzero[kept[one.target]].any(0), len(kept[one.source]))
        if before == {stream: int(mask.sum()) for stream, mask in kept.items()}:
            empty = [stream for stream, mask in kept.items() if not mask.any()]
            if not empty:
                return kept
            # A layer without units cannot be run: one with the fewest weights stays.
            for stream in empty:
                weights = sum(nonzero.sum(1) for one, nonzero in zip(readers, read, strict=True) if one.target == stream)
                kept[stream][int(cast(Tensor, weights).argmin())] = True


def _wanted(reader: Reader, reads: Tensor, count: int) -> Tensor:
    """Which of the `count` units of its source a layer needs, if its kept units read these inputs (inputs,)."""
    folds, value, carrier = reader.inputs
    wanted = reads & ~folds
    if carrier is not None and (reads & folds & (value != 0)).any():
        wanted[carrier] = True
    return wanted.view(count, -1).any(1)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BESIDES) or super().is_leaf_module(m, module_qualified_name)


class _Walk(fx.Interpreter):
    """A forward pass that follows constants, and finds out which layers read and write which streams."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(fx.GraphModule(model, _Tracer().trace(model)))
        called = (id(self._module(node)) for node in self.graph.nodes if node.op == "call_module")
        self._calls = Counter(called)
        self._signals: dict[fx.Node, Signal] = {}
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._pinned: list[bool] = []
        self.readers: list[Reader] = []
        self.tied: list[Tied] = []

    def root(self, stream: int) -> int:
        """The number that a stream goes by, once additions have joined it with others."""
        while self._parents[stream] != stream:
            stream = self._parents[stream]
        return stream

    def whole(self) -> dict[int, Tensor]:
        """For each stream a mask of its units: all of those that have to stay, none of any other."""
        pinned = {self.root(stream) for stream, whole in enumerate(self._pinned) if whole}
        device = next(iter(self._signals.values())).value.device
        roots = {self.root(stream) for stream in range(len(self._parents))}
        return {root: torch.full((self._sizes[root],), root in pinned, device=device) for root in sorted(roots)}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "get_attr" or not isinstance(value, Tensor):
            signal = None
        else:
            signal = self._follow(n, value) if n.op.startswith("call") else None
        if signal is None:
            self._pin(n)
            if isinstance(value, Tensor) and n.op != "get_attr" and value.dim() > 1 and len(value) == 1:
                signal = Signal(value, torch.zeros_like(value[0], dtype=torch.bool), self._stream(value.shape[1], True))
        if signal is not None:
            # What comes later may overwrite it.
            self._signals[n] = signal._replace(value=signal.value.clone())
        return value

    def _module(self, node: fx.Node) -> nn.Module:
        return self.module.get_submodule(cast(str, node.target))

    def _stream(self, size: int, pinned: bool) -> int:
        """The number of a new stream of so many units; `pinned` if all of them have to stay."""
        self._parents.append(len(self._parents))
        self._sizes.append(size)
        self._pinned.append(pinned)
        return len(self._parents) - 1

    def _pin(self, node: fx.Node) -> None:
        """Have all units of all streams stay that `node` reads."""
        for one in node.all_input_nodes:
            if one in self._signals:
                self._pinned[self.root(self._signals[one].stream)] = True

    def _follow(self, node: fx.Node, value: Tensor) -> Signal | None:
        """The signal that `node` puts out; None if no rule can follow it."""
        given = [self._signals.get(one) for one in node.all_input_nodes]
        if len(value) != 1 or not given or None in given:
            return None
        first = cast(Signal, given[0])
        layer = self._module(node) if node.op == "call_module" else None
        kind = node.target if layer is None else type(layer)
        if len(given) == 2:
            return self._sum(first, cast(Signal, given[1]), value) if kind in SUMS and _two_alone(node) else None
        if kind in ELEMENTWISE:
            return first._replace(value=value)
        if kind in FLATTENINGS and value.dim() == 2:
            return first._replace(value=value, constant=first.constant.flatten())
        if kind in POOLS and value.dim() == first.value.dim() == 4:
            return first._replace(value=value, constant=_filled(first.constant_units(), value))
        if kind in MEANS and first.value.dim() == 4 and _axes(node) == {2, 3}:
            return first._replace(value=value, constant=_filled(first.constant_units(), value))
        # One that is called twice would have other parameters each time.
        if layer is None or self._calls[id(layer)] != 1:
            return None
        return self._of_layer(cast(str, node.target), layer, first, value)

    def _sum(self, first: Signal, second: Signal, value: Tensor) -> Signal | None:
        one, other = self.root(first.stream), self.root(second.stream)
        if first.value.shape != second.value.shape or self._sizes[one] != self._sizes[other]:
            return None
        self._parents[other] = one
        self._pinned[one] = self._pinned[one] or self._pinned[other]
        return Signal(value, first.constant & second.constant, one)

    def _of_layer(self, name: str, layer: nn.Module, given: Signal, value: Tensor) -> Signal | None:
        """The signal of a layer with parameters, which is noted down; None if it is of another kind."""
        if isinstance(layer, BatchNorm) and NORM_DIMENSIONS.get(type(layer)) == value.dim() and layer.running_mean is not None:
            flat = torch.zeros_like(layer.running_mean, dtype=torch.bool) if layer.weight is None else layer.weight == 0
            constant = given.constant | flat.view(-1, *[1] * (value.dim() - 2))
        elif type(layer) is Grafted and layer.kept.shape == value.shape[1:]:
            constant = given.constant | ((layer.kept == 0) & (layer.slope == 0))
        elif type(layer) is nn.PReLU:
            constant = given.constant
            if layer.num_parameters == 1:
                return given._replace(value=value)
        elif type(layer) is nn.Conv2d and is_depthwise(layer) and value.dim() == 4:
            constant = _filled(given.constant_units() | ~nonzero_pairs(layer.weight).any(1), value)
        else:
            return self._of_reader(name, layer, given, value)
        self.tied.append(Tied(name, layer, value.shape[1], given.stream))
        return given._replace(value=value, constant=constant)

    def _of_reader(self, name: str, layer: nn.Module, given: Signal, value: Tensor) -> Signal | None:
        if type(layer) is nn.Conv2d and layer.groups == 1 and given.value.dim() == 4:
            inputs = _inputs_of_convolution(layer, given)
            live = ~given.constant_units()
        elif type(layer) is nn.Linear and given.value.dim() == 2:
            inputs = Inputs(given.constant, torch.where(given.constant, given.value[0], 0).double(), None)
            live = ~given.constant
        else:
            return None
        constant = ~(nonzero_pairs(layer.weight) & live).any(1)
        self.readers.append(Reader(name, layer, inputs, given.stream, self._stream(len(constant), False)))
        return Signal(value, _filled(constant, value), self.readers[-1].target)


def _inputs_of_convolution(layer: nn.Conv2d, given: Signal) -> Inputs:
    maps = given.value[0].flatten(1)
    folds = given.constant_units() & (maps == maps[:, :1]).all(1)
    value = torch.where(folds, maps[:, 0], 0).double()
    carried = sees_border(layer) and bool(value.any())
    return Inputs(folds, value, int(value.abs().argmax()) if carried else None)


def _filled(of_units: Tensor, value: Tensor) -> Tensor:
    """A mask of units (units,) as that of their entries, those of `value` (1, units, ...)."""
    return of_units.view(-1, *[1] * (value.dim() - 2)).expand(value.shape[1:])


def _two_alone(node: fx.Node) -> bool:
    """Whether a node has two inputs and no settings, such as a factor."""
    return len(node.args) == 2 and not node.kwargs


def _axes(node: fx.Node) -> set[int]:
    """The axes, of four, over which a node takes a mean."""
    found: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return {axis % 4 for axis in found} if isinstance(found, list | tuple) else set()
