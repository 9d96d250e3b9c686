"""Lower bounds on classification margins over a perturbation set, through auto_LiRPA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError, SparrowError
from sparrow.networks.live_view import live_view
from sparrow.networks.modes import eval_mode, modes_restored
from sparrow.settings import Threat
from sparrow.verification import guard
from sparrow.verification.auto_lirpa_bridge import auto_lirpa, bounded_module
from sparrow.verification.bounded_network import BoundedNetwork, Node, nodes
from sparrow.verification.memory import out_of_memory

# With auto_LiRPA 0.3, alpha-CROWN fails without the first two (shape mismatch), and without the third on a network with a
# layer that is stable at first and unstable later. Less sparse bookkeeping makes no bound looser, and is faster.
BOUND_OPTIONS = {"sparse_features_alpha": False, "sparse_spec_alpha": False, "sparse_intermediate_bounds": False}


def margin_matrix(labels: Tensor, classes: int) -> Tensor:
    """C (n, classes - 1, classes) such that C @ logits are the margins `logit[label] - logit[other]`, others ascending."""
    identity = torch.eye(classes, device=labels.device)
    differences = identity[labels].unsqueeze(1) - identity.unsqueeze(0)
    others = torch.arange(classes, device=labels.device).unsqueeze(0) != labels.unsqueeze(1)
    return differences[others].view(len(labels), classes - 1, classes)


def perturbed(images: Tensor, threat: Threat) -> Tensor:
    """auto_LiRPA's bounded tensor of the perturbation sets of `images`: balls of the threat; for linf, clipped to [0, 1]."""
    lirpa = auto_lirpa()
    if threat.norm == "linf":
        lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
        ball = lirpa.PerturbationLpNorm(norm=float("inf"), eps=threat.eps, x_L=lower, x_U=upper)
    else:
        ball = lirpa.PerturbationLpNorm(norm=2, eps=threat.eps)
    return lirpa.BoundedTensor(images, ball)


def bounded(model: nn.Module, images: Tensor, options: dict | None = None) -> BoundedNetwork:
    """auto_LiRPA's BoundedModule of `model`, in eval mode, for batches shaped like `images`. It shares the model's parameters.

    Raises NetworkError, naming the layer, if auto_LiRPA does not know one.
    """
    image, options = images[:1].detach().clone(), BOUND_OPTIONS | (options or {})
    with flags_restored(model), naming_unsupported_layer(model, image, "IBP"):
        # A batch norm behind a linear layer has no statistics of one image.
        model.eval()
        network = bounded_module(model, image, options)
        if network.conv_mode == "patches" and not _right_with_patches(network):
            network = bounded_module(model, image, options | {"conv_mode": "matrix"})
        _require_same_logits(network, model, image)
        return network


def _require_same_logits(network: BoundedNetwork, model: nn.Module, image: Tensor) -> None:
    """Raise NetworkError if `network` gives `image` (1, c, h, w) other logits than `model`, or if a map has no pixel."""
    with torch.no_grad(), eval_mode(model):
        expected, found = model(image), network[network.final_name].forward_value
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
        kinds = sorted({_kind(node) for node in nodes(network)})
        raise NetworkError(f"auto_LiRPA computes other logits than {type(model).__name__} does, from {', '.join(kinds)}")

    empty = next((node for node in nodes(network) if _has_no_pixel(node)), None)
    if empty is not None:
        shape = tuple(image.shape[1:])
        raise NetworkError(f"{_description(empty)} puts out a map without a pixel, of images of the shape {shape}")


def _kind(node: Node) -> str:
    """Name of its operation, such as Conv."""
    return type(node).__name__.removeprefix("Bound")


def _has_no_pixel(node: Node) -> bool:
    """Whether a node puts out an empty map; a shape or another vector may well be empty."""
    value = getattr(node, "forward_value", None)
    return bool(node.inputs) and isinstance(value, Tensor) and value.dim() > 1 and not value.numel()


NO_OPERATIONS = {"Input", "Params", "Buffers", "Constant"}
LEAVES = {"BoundInput", "BoundParams", "BoundBuffers"}
PATCHED = {"BoundConv", "BoundBatchNormalization", "BoundRelu", "BoundAdd", "BoundFlatten", "BoundLinear"}


def _right_with_patches(network: BoundedNetwork) -> bool:
    """Whether auto_LiRPA's short form of a convolution's coefficients, as patches of its input, is known to be right here.

    That is so in chains and residual networks of plain convolutions, batch norms, ReLUs and linear layers, if images, kernels,
    strides and paddings are square, and a convolution or a linear layer is the only reader of the image. With anything else
    0.3 is wrong now and then or fails; whole matrices take more memory, and are right.
    """
    return all(map(_node_right_with_patches, nodes(network)))


def _node_right_with_patches(node: Node) -> bool:
    kind = type(node).__name__
    if kind not in LEAVES | PATCHED:
        return False
    reads_images = any(type(given).__name__ == "BoundInput" for given in node.inputs)
    if reads_images and kind not in ("BoundConv", "BoundFlatten", "BoundLinear"):
        return False
    if kind == "BoundAdd":
        return all(given.perturbed for given in node.inputs)
    if kind == "BoundConv":
        # A fixed convolution has its weight in a buffer.
        kernel: tuple[int, ...] = node.inputs[1].forward().shape[2:]
        sizes = node.input_shape[2:], kernel, node.stride, node.padding
        return node.groups == 1 and all(step == 1 for step in node.dilation) and all(len(set(pair)) == 1 for pair in sizes)
    return True


@contextmanager
def naming_unsupported_layer(model: nn.Module, image: Tensor, method: str) -> Iterator[None]:
    """While the context is active, whatever auto_LiRPA raises becomes a NetworkError that names the layer that it cannot bound;
    errors for want of memory pass unchanged."""
    try:
        yield
    except SparrowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        part = _unsupported_part(model, image, method)
        raise NetworkError(f"auto_LiRPA cannot bound {part} by {method} ({reason})") from error


def _unsupported_part(model: nn.Module, image: Tensor, method: str) -> str:
    """Words for the first layer that auto_LiRPA cannot bound even by itself; for the forward pass, if it can bound all."""
    inputs: dict[str, Tensor] = {}
    leaves = {name: module for name, module in model.named_modules() if name and not any(module.children())}

    def keep(name: str, given: Tensor) -> None:  # What a hook returns would take the place of the layer's input.
        inputs.setdefault(name, given.detach())

    hooks = [
        module.register_forward_pre_hook(lambda layer, given, name=name: keep(name, given[0]))
        for name, module in leaves.items()
    ]
    try:
        with torch.no_grad(), eval_mode(model):  # A batch norm has no statistics of one image.
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    for name, given in inputs.items():
        if not _can_bound(leaves[name], given[:1], method):
            return f"layer {name} ({type(leaves[name]).__name__})"
    return f"the forward pass of {type(model).__name__}"


def _can_bound(layer: nn.Module, given: Tensor, method: str) -> bool:
    """Whether auto_LiRPA can bound a linear function of one layer's output, for the input `given` (1, ...)."""
    try:
        with torch.no_grad():
            size = layer(given).numel()
        alone = nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 1)).to(given.device).eval()
        # By whole matrices, which every network falls back to.
        network = bounded_module(alone, given, BOUND_OPTIONS | {"conv_mode": "matrix"})
        network.compute_bounds(x=(perturbed(given, Threat(norm="l2", eps=0.01)),), method=method.replace("-Optimized", ""))
    except Exception:
        return False
    return True


def margins(network: BoundedNetwork, images: Tensor, labels: Tensor, threat: Threat, classes: int, method: str) -> Tensor:
    """Lower bounds (n, classes - 1) on the margins to every other class. `network` comes from `bounded`."""
    specification = margin_matrix(labels, classes)
    lower, _ = network.compute_bounds(x=(perturbed(images, threat),), C=specification, method=method, bound_upper=False)
    return lower


def smallest_margin(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    classes: int,
    method: str,
    options: dict | None = None,
) -> Tensor:
    """Lower bound (n,) on the smallest margin over all other classes; `model` is left as it was.

    Bounded is the network without the units that cannot matter. A fresh BoundedModule each time: one that has computed other
    bounds keeps some of their state. Raises NetworkError if auto_LiRPA cannot bound one of the network's layers by this method,
    or a point of a perturbation set refutes a bound.
    """
    live = live_view(model, images.shape[1:])
    with flags_restored(model):
        with naming_unsupported_layer(model, images[:1], method):
            network = bounded(live, images, options)
            try:
                found = _smallest_margin(network, images, labels, threat, classes, method)
            except Exception as error:
                if out_of_memory(error) or network.conv_mode != "patches":
                    raise
                # Kernels larger than their input, for one.
                network = bounded(live, images, (options or {}) | {"conv_mode": "matrix"})
                found = _smallest_margin(network, images, labels, threat, classes, method)
        diagnosis = partial(_diagnosis, network, model, images, labels, threat)
        guard.check(method, model, images, labels, found, threat, diagnosis)
        wrong = next((node for node in _bounded_nodes(network) if guard.out_of_range(node.lower, node.upper)), None)
        if wrong is not None:
            raise NetworkError(f"{method} gave lower bounds above upper ones for {_description(wrong)}")
    return found


def _smallest_margin(
    network: BoundedNetwork, images: Tensor, labels: Tensor, threat: Threat, classes: int, method: str
) -> Tensor:
    """Lower bounds (n,) on the smallest margin, of `network` in eval mode, without gradients."""
    network.eval()
    if method == "CROWN-Optimized" and not network.optimizable_activations:
        method = "CROWN"  # Without a slope to optimise, that is what it amounts to.
    # auto_LiRPA 0.3 optimises the slopes of a max pooling for one image alone.
    pooled = method == "CROWN-Optimized" and any(type(node).__name__ == "BoundMaxPool" for node in network.modules())
    size = 1 if pooled else max(1, len(images))
    parts = zip(images.split(size), labels.split(size), strict=True)
    found = [margins(network, some, own, threat, classes, method).detach() for some, own in parts]
    return torch.cat(found).amin(dim=1)


def _bounded_nodes(network: BoundedNetwork) -> list[Node]:
    """The nodes on whose outputs there are bounds, in the network's order; without the last, of which margins are bounded."""
    known: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.name not in known:
            for given in node.inputs:
                visit(given)
            known[node.name] = node

    visit(network[network.final_name])
    bounded = [node for node in known.values() if node.perturbed and node.name != network.final_name]
    return [node for node in bounded if isinstance(getattr(node, "lower", None), Tensor) and isinstance(node.upper, Tensor)]


def _description(node: Node) -> str:
    """Words for a node: its operation, and the layer whose weights it has, if any."""
    kind = _kind(node)
    own = [given.ori_name for given in node.inputs if type(given).__name__ == "BoundParams" and given.ori_name]
    return f"layer {own[0].removesuffix('.weight').removesuffix('.bias')} ({kind})" if own else f"an operation ({kind})"


def _wrong_range(network: BoundedNetwork, ranged: list[Node], points: Iterator[Tensor]) -> Node | None:
    """The first node of `ranged` whose output for one of the `points` (n, c, h, w) is outside its bounds; None if none is.

    The bounds stay as they are.
    """
    first = len(ranged)
    for there in points:
        with torch.no_grad():
            network(there, clear_forward_only=True, reset_perturbed_nodes=False)
        for place, node in enumerate(ranged[:first]):
            if guard.out_of_range(node.lower, node.upper, node.forward_value):
                first = place
                break
    return ranged[first] if first < len(ranged) else None


def _diagnosis(network: BoundedNetwork, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> str:
    """The end of a message about a refuted bound: the first operation with wrong bounds, and what can be done."""
    ranged = _bounded_nodes(network)
    few = max((len(node.lower) for node in ranged), default=0)  # The images of the last batch that was bounded.
    with eval_mode(model):
        wrong = _wrong_range(network, ranged, guard.probes(model, images[-few:], labels[-few:], threat)) if few else None
    kinds = sorted({_kind(node) for node in nodes(network)} - NO_OPERATIONS)
    where = f"{_description(wrong)} is the first whose range is wrong" if wrong is not None else "its layers' ranges hold"
    return f"; {where}, in a network of {', '.join(kinds)}; its bound is not to be had from auto_LiRPA, others may be"


def input_ranges(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int) -> list[tuple[Tensor, Tensor]]:
    """Lower and upper bounds (n, ...) by CROWN on the input of each ReLU layer, in the network's order; empty without ReLUs.

    Raises NetworkError if auto_LiRPA cannot bound a layer, or a point of a perturbation set refutes a bound.
    """
    with torch.no_grad(), flags_restored(model):
        network = bounded(model, images)
        network.eval()
        with naming_unsupported_layer(model, images[:1], "CROWN"):
            margins(network, images, labels, threat, classes, "CROWN")
        before = [relu.inputs[0] for relu in network.relus if relu.used and relu.perturbed]
        wrong = _wrong_range(network, before, guard.probes(model.eval(), images, labels, threat))
        if wrong is not None:
            raise NetworkError(f"CROWN gave {_description(wrong)} a range that it leaves at a point of the perturbation set")
        return [(node.lower.detach(), node.upper.detach()) for node in before]


def neurons(model: nn.Module, image: Tensor) -> list[int]:
    """Number of ReLUs in each layer of `model` for an `image` (1, c, h, w), by the layers of `input_ranges`."""
    with torch.no_grad():
        found = relu_inputs(bounded(model, image), model, image, Threat(eps=1e-6))
    return [each.lower[0].numel() for each in found]


class Range(NamedTuple):
    """Bounds on the input of a layer of ReLUs."""

    lower: Tensor
    upper: Tensor
    """Both (n, ...)."""
    scale: Tensor | None
    """Scale (channels,) of the batch norm right before the ReLUs; None if there is none."""


def relu_inputs(network: BoundedNetwork, model: nn.Module, images: Tensor, threat: Threat) -> list[Range]:
    """Bounds by IBP on the input of each ReLU layer of `model`, differentiable in its weights; `network` is `bounded(model)`.

    Whatever the mode of `model`, it is bounded as in eval mode, with the running statistics that batch norms have now.
    """
    every = nodes(network)
    buffers = dict(model.named_buffers())
    with flags_restored(model):
        for node in every:
            # Parameters in eval mode have no gradient.
            node.training = type(node).__name__ == "BoundParams"
            if type(node).__name__ == "BoundBuffers" and node.ori_name in buffers:
                node.buffer = buffers[node.ori_name].detach().clone()
        network.compute_bounds(x=(perturbed(images, threat),), method="IBP", bound_upper=True)
        relus = [relu.inputs[0] for relu in network.relus if relu.perturbed]
        return [Range(node.interval[0], node.interval[1], _norm_scale(node)) for node in relus]


def _norm_scale(node: Node) -> Tensor | None:
    """The scale (channels,) of a batch norm, also where lines behind it leave out what is no ReLU's input; None for another
    node."""
    if any((given.ori_name or "").endswith(".kept") for given in node.inputs if type(given).__name__ == "BoundBuffers"):
        node = node.inputs[0]
    return node.inputs[1].forward() if type(node).__name__ == "BoundBatchNormalization" else None


@contextmanager
def flags_restored(model: nn.Module) -> Iterator[None]:
    """At the end of the context, restore `requires_grad` of each parameter and the mode of each layer.

    BoundedModule sets `requires_grad` of the parameters that it shares with the model according to its own mode.
    """
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        with modes_restored(model):
            yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])
