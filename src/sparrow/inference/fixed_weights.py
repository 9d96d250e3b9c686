"""A faster equivalent of a network in eval mode, for many forward and backward passes with the same weights.

An attack runs a network dozens of times between two changes of its weights. What depends on the weights alone is computed
once: a batch norm that directly follows a convolution or a linear layer is folded into that layer's weights, these get the
precision and the memory layout that convolutions want, and no graph is kept for them. A ReLU overwrites its input where
nothing else reads that. The function is the same but for rounding.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from sparrow.inference import split_convolution
from sparrow.networks.grafting import Grafted
from sparrow.networks.modes import eval_mode

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
NORM_OF: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}
SUMS = (operator.add, torch.add)
RELUS = (torch.relu, functional.relu)


class FoldedLayer(NamedTuple):
    """A layer of the network, the batch norm to fold into it (if any), and its weight's and bias's names in the view."""

    layer: nn.Conv2d | nn.Linear
    norm: BatchNorm | None
    names: tuple[str, str]

    def tensors(self, channels_last: bool) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the batch norm folded in, from the network's current parameters and running statistics."""
        layer, norm = self.layer, self.norm
        weight: Tensor = layer.weight
        bias: Tensor | None = layer.bias
        if norm is not None:
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None  # `_fold` takes no norm without running statistics.
            fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
            scale = torch.ones_like(mean) if norm.weight is None else norm.weight
            shift = torch.zeros_like(mean) if norm.bias is None else norm.bias
            weight, bias = fuse(weight, bias, mean, variance, norm.eps, scale, shift)
        device = weight.device.type
        if torch.is_autocast_enabled(device):
            precision = torch.get_autocast_dtype(device)
            weight, bias = weight.to(precision), None if bias is None else bias.to(precision)
        if channels_last and weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        return weight.detach(), None if bias is None else bias.detach()


class View(NamedTuple):
    """The traced graph of a network, its batch norms folded, and the layers whose weights it takes."""

    network: fx.GraphModule
    folded: list[FoldedLayer]

    def fill(self, channels_last: bool, float32_layer: nn.Module | None = None) -> None:
        """Compute the weights from the network's current ones; under autocast in its precision, but for `float32_layer`."""
        for one in self.folded:
            device = one.layer.weight.device.type
            with torch.autocast(device, enabled=False) if one.layer is float32_layer else nullcontext():
                self.network._buffers.update(zip(one.names, one.tensors(channels_last), strict=True))

    def clear(self) -> None:
        """Free the weights' memory."""
        self.network._buffers.update(dict.fromkeys(self.network._buffers))


class Traced(NamedTuple):
    """The view of a network, or None where it cannot be traced rightly, and the modules that it had when it was traced."""

    view: View | None
    modules: list[nn.Module]


_traced: WeakKeyDictionary[nn.Module, Traced] = WeakKeyDictionary()


@contextmanager
def fixed_weights(model: nn.Module, images: Tensor, float32_layer: nn.Module | None = None) -> Iterator[nn.Module]:
    """Yield a faster equivalent of `model` in eval mode for inputs shaped like `images`; the weights must not change inside the
    context.

    Under autocast its layers compute in that precision, all but `float32_layer`. Forward hooks on `model` still run. Falls back
    to `model` itself if torch.fx cannot trace it rightly, if it uses parameters outside layers, if a layer has hooks, or if
    `float32_layer` is none of its plain layers.
    """
    with eval_mode(model):
        inside = [module for module in model.modules() if module is not model]
        view = None if any(map(_has_hooks, inside)) or _has_other_hooks(model) else _view_of(model, inside, images)
        if view is None or float32_layer not in (None, *(one.layer for one in view.folded)):
            yield model
            return
        channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        try:
            with torch.no_grad():
                view.fill(channels_last, float32_layer)
            # The very same dictionaries: a hook that is registered on the model later runs here, too.
            view.network._forward_hooks, view.network._forward_pre_hooks = model._forward_hooks, model._forward_pre_hooks
            yield view.network
        finally:
            view.network._forward_hooks, view.network._forward_pre_hooks = OrderedDict(), OrderedDict()
            view.clear()


def conv2d(images: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """A convolution in the precision of its weight, whatever autocast would choose; `geometry` is stride, padding, dilation and
    groups."""
    device = images.device.type
    if not torch.is_autocast_enabled(device):
        return split_convolution.conv2d(images, weight, bias, *geometry)
    precision = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        if weight.dtype == precision or isinstance(geometry[1], str):
            return split_convolution.conv2d(images.to(weight.dtype), weight, bias, *geometry)
        return _Float32Convolution.apply(images, weight, bias, precision, geometry)


class _Float32Convolution(torch.autograd.Function):
    """A convolution in its weight's precision whose output, and the gradient of whose images, has the lower `precision`.

    The next layer is in that precision anyway, and the backward pass to three channels takes seven times as long in float32.
    """

    @staticmethod
    def forward(
        context: Any, images: Tensor, weight: Tensor, bias: Tensor | None, precision: torch.dtype, geometry: Any
    ) -> Tensor:
        context.save_for_backward(weight.to(precision))
        context.size, context.geometry = images.shape, geometry
        return split_convolution.conv2d(images.to(weight.dtype), weight, bias, *geometry).to(precision)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = context.saved_tensors
        # Autograd casts this to the images' own precision.
        return conv2d_input(context.size, weight, gradient, *context.geometry), None, None, None, None


def linear(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer in the precision of its weight, whatever autocast would choose."""
    device = images.device.type
    if not torch.is_autocast_enabled(device):
        return functional.linear(images, weight, bias)
    with torch.autocast(device, enabled=False):
        return functional.linear(images.to(weight.dtype), weight, bias)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or _has_other_hooks(module)


def _has_other_hooks(module: nn.Module) -> bool:
    """Whether it has hooks of a kind that a view would not run."""
    kinds = "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs"
    return any(getattr(module, kind) for kind in (*kinds, "_forward_hooks_always_called"))


def _view_of(model: nn.Module, inside: list[nn.Module], images: Tensor) -> View | None:
    """The view of `model`, None if there can be none; traced anew if one of the modules `inside` it has been replaced."""
    known = _traced.get(model)
    if known is None or len(known.modules) != len(inside) or any(map(operator.is_not, known.modules, inside)):
        try:
            view = _trace(model)
            if view is not None and not _gives_the_same_logits(view, model, images[:2].detach()):
                view = None
        except Exception:  # Whatever its forward pass does that a trace, or what is made of it, cannot follow.
            view = None
        known = _traced[model] = Traced(view, inside)
    return known.view


def _gives_the_same_logits(view: View, model: nn.Module, images: Tensor) -> bool:
    """Whether the view's logits are the model's, but for rounding: a trace may mistake, say, `+=` on what is read again."""
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        view.fill(channels_last=False)
        # Without the model's hooks, which the view does not have yet.
        expected, found = model.forward(images), view.network(images)
        view.clear()
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


class _Tracer(fx.Tracer):
    """Takes grafted ReLUs for layers, as which they read the parameters that they have when they are run."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Grafted) or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module) -> View | None:
    """A view of `model`; None if it uses a parameter outside layers. Raises whatever torch.fx does if it cannot follow."""
    network = fx.GraphModule(model, _Tracer().trace(model))
    nodes, modules = list(network.graph.nodes), dict(network.named_modules())
    folded: list[FoldedLayer] = []
    if any(node.op == "get_attr" for node in nodes):  # A parameter by itself might be another one by then.
        return None
    for node in nodes:
        layer = _called(node, modules)
        plain = type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.padding_mode == "zeros")
        if plain and isinstance(layer, nn.Conv2d | nn.Linear):
            folded.append(_fold(network, node, layer, modules, f"folded_{len(folded)}"))
    for node in nodes:
        if _is_relu(node, modules) and _may_be_overwritten(node.args[0]):
            with network.graph.inserting_before(node):
                node.replace_all_uses_with(network.graph.call_function(torch.relu_, node.args[:1]))
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return View(network, folded)


def _called(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The module that a node of the graph calls; None if it calls none."""
    return modules.get(cast(str, node.target)) if node.op == "call_module" else None


def _fold(
    network: fx.GraphModule, node: fx.Node, layer: nn.Conv2d | nn.Linear, modules: dict[str, nn.Module], name: str
) -> FoldedLayer:
    """Replace `node`, which calls `layer`, and a batch norm that alone reads it, by one call with the view's own weights."""
    graph, readers = network.graph, list(node.users)
    norm = _called(readers[0], modules) if len(readers) == 1 else None
    if type(norm) is not NORM_OF[type(layer)] or not isinstance(norm, BatchNorm) or norm.running_mean is None:
        norm = None
    names = f"{name}_weight", f"{name}_bias"
    for own in names:
        network.register_buffer(own, None, persistent=False)
    with graph.inserting_before(node):
        tensors = [graph.get_attr(own) for own in names]
        if isinstance(layer, nn.Linear):
            call = graph.call_function(linear, (*node.args, *tensors))
        else:
            geometry = layer.stride, layer.padding, layer.dilation, layer.groups
            call = graph.call_function(conv2d, (*node.args, *tensors, *geometry))
    replaced = [node] if norm is None else [node, readers[0]]
    for one in replaced:
        one.replace_all_uses_with(call)
    for one in reversed(replaced):
        graph.erase_node(one)
    return FoldedLayer(layer, norm, names)


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(_called(node, modules)) is nn.ReLU
    return node.op == "call_function" and node.target in RELUS


def _may_be_overwritten(node: Argument) -> bool:
    """Whether `node` computes something that has a single reader, and that is not kept for its own backward pass."""
    return (
        isinstance(node, fx.Node)
        and len(node.users) == 1
        and node.op == "call_function"
        and node.target in (conv2d, linear, *SUMS)
    )
