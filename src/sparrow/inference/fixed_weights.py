"""A network in eval mode as a function of its images alone, made for being looked at again and again with the same weights.

An attack goes through a network dozens of times between two changes of its weights. What depends on the weights alone is
done once: a batch norm that directly follows a convolution or a linear layer vanishes in that layer's weights, these have
the precision and the layout that convolutions want, and no graph is kept for them. ReLUs overwrite what nobody else reads.
The function is the same but for rounding.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from sparrow.inference import split_convolution
from sparrow.networks.modes import eval_mode

NORM_OF = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}
SUMS = (operator.add, torch.add)
RELUS = (torch.relu, functional.relu)


class Folded(NamedTuple):
    """A layer of the network, the batch norm that it is to swallow, and what its weights are called in the view."""

    layer: nn.Conv2d | nn.Linear
    norm: nn.Module | None
    names: tuple[str, str]

    def tensors(self, channels_last: bool) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias, as the network's are now."""
        layer, norm = self.layer, self.norm
        weight, bias = layer.weight, layer.bias
        if norm is not None:
            fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
            scale = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
            shift = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
            weight, bias = fuse(weight, bias, norm.running_mean, norm.running_var, norm.eps, scale, shift)
        device = weight.device.type
        if torch.is_autocast_enabled(device):
            precision = torch.get_autocast_dtype(device)
            weight, bias = weight.to(precision), None if bias is None else bias.to(precision)
        if channels_last and weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        return weight.detach(), None if bias is None else bias.detach()


class View(NamedTuple):
    """A network's graph with folded layers, and the modules that it was made of."""

    network: fx.GraphModule | None
    folded: list[Folded]
    made_of: list[nn.Module]

    def fill(self, channels_last: bool, in_full: nn.Module | None = None) -> None:
        """Give it the network's weights as they are now."""
        for one in self.folded:
            device = one.layer.weight.device.type
            with torch.autocast(device, enabled=False) if one.layer is in_full else nullcontext():
                self.network._buffers.update(zip(one.names, one.tensors(channels_last), strict=True))

    def clear(self) -> None:
        """Give their memory back."""
        self.network._buffers.update(dict.fromkeys(self.network._buffers))


_views: WeakKeyDictionary[nn.Module, View] = WeakKeyDictionary()


@contextmanager
def frozen(model: nn.Module, images: Tensor, in_full: nn.Module | None = None) -> Iterator[nn.Module]:
    """`model` in eval mode, to be looked at through images like `images` while its weights stay as they are.

    Under autocast its layers have that precision, all but the layer `in_full`. What is hooked to the model is called. A network
    that torch.fx cannot trace rightly, that uses a parameter outside of layers, or that has something hooked to a layer
    inside, is looked at as it is.
    """
    with eval_mode(model):
        inside = [module for module in model.modules() if module is not model]
        view = None if any(map(_hooked, inside)) or _oddly_hooked(model) else _view_of(model, inside, images)
        if view is None or view.network is None or in_full not in (None, *(one.layer for one in view.folded)):
            yield model
            return
        channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        try:
            with torch.no_grad():
                view.fill(channels_last, in_full)
            # The very same dictionaries: what is hooked to the model later counts here, too.
            view.network._forward_hooks, view.network._forward_pre_hooks = model._forward_hooks, model._forward_pre_hooks
            yield view.network
        finally:
            view.network._forward_hooks, view.network._forward_pre_hooks = OrderedDict(), OrderedDict()
            view.clear()


def conv2d(images: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """A convolution that computes as its weight is, whatever autocast would do."""
    device = images.device.type
    if not torch.is_autocast_enabled(device):
        return split_convolution.conv2d(images, weight, bias, *geometry)
    precision = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        if weight.dtype == precision or isinstance(geometry[1], str):
            return split_convolution.conv2d(images.to(weight.dtype), weight, bias, *geometry)
        return _InFull.apply(images, weight, bias, precision, geometry)


class _InFull(torch.autograd.Function):
    """A convolution that sees its images in full; what leaves it, and the gradient that comes back, has the lower `precision`.

    What comes next is lowered anyway, and back through three channels float32 takes seven times as long.
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
        # Autograd wants the images' own precision back, and sees to it.
        return conv2d_input(context.size, weight, gradient, *context.geometry), None, None, None, None


def linear(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer, likewise."""
    device = images.device.type
    if not torch.is_autocast_enabled(device):
        return functional.linear(images, weight, bias)
    with torch.autocast(device, enabled=False):
        return functional.linear(images.to(weight.dtype), weight, bias)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or _oddly_hooked(module)


def _oddly_hooked(module: nn.Module) -> bool:
    """Whether it has hooks that a view does not take over."""
    kinds = "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs"
    return any(getattr(module, kind) for kind in (*kinds, "_forward_hooks_always_called"))


def _view_of(model: nn.Module, inside: list[nn.Module], images: Tensor) -> View:
    """The view that there is, unless a layer of the network is another one since."""
    known = _views.get(model)
    if known is None or len(known.made_of) != len(inside) or any(map(operator.is_not, known.made_of, inside)):
        try:
            known = _made(model, inside)
            if known.network is not None and not _says_the_same(known, model, images[:2].detach()):
                known = View(None, [], inside)
        except Exception:  # Whatever its forward pass does that a trace, or what is made of it, cannot follow.
            known = View(None, [], inside)
        _views[model] = known
    return known


def _says_the_same(view: View, model: nn.Module, images: Tensor) -> bool:
    """A trace may mistake what a network does, such as `+=` on what is read again."""
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        view.fill(channels_last=False)
        # Without what is hooked to the model, which the view does not have yet.
        expected, found = model.forward(images), view.network(images)
        view.clear()
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _made(model: nn.Module, inside: list[nn.Module]) -> View:
    network = fx.symbolic_trace(model)
    nodes, modules, folded = list(network.graph.nodes), dict(network.named_modules()), []
    if any(node.op == "get_attr" for node in nodes):  # A parameter by itself might be another one by then.
        return View(None, [], inside)
    for node in nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        if type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.padding_mode == "zeros"):
            folded.append(_fold(network, node, layer, modules, f"folded_{len(folded)}"))
    for node in nodes:
        if _is_relu(node, modules) and _unread(node.args[0]):
            with network.graph.inserting_before(node):
                node.replace_all_uses_with(network.graph.call_function(torch.relu_, node.args[:1]))
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return View(network, folded, inside)


def _fold(network: fx.GraphModule, node: fx.Node, layer: nn.Module, modules: dict[str, nn.Module], name: str) -> Folded:
    """Put a call with weights of the view's own in the place of `node`, and of the batch norm behind it."""
    graph, follower = network.graph, next(iter(node.users), None)
    norm = modules.get(follower.target) if follower and follower.op == "call_module" else None
    if len(node.users) != 1 or type(norm) is not NORM_OF[type(layer)] or norm.running_mean is None:
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
    for replaced in (node,) if norm is None else (node, follower):
        replaced.replace_all_uses_with(call)
    for replaced in (node,) if norm is None else (follower, node):
        graph.erase_node(replaced)
    return Folded(layer, norm, names)


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(modules[node.target]) is nn.ReLU
    return node.op == "call_function" and node.target in RELUS


def _unread(node: fx.Node) -> bool:
    """Whether what `node` computes has a single reader, and is not kept for its own backward pass."""
    return len(node.users) == 1 and node.op == "call_function" and node.target in (conv2d, linear, *SUMS)
