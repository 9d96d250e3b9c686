"""Lower bounds on classification margins over a perturbation set, through auto_LiRPA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError, SparrowError
from sparrow.networks.modes import modes_kept
from sparrow.settings import Threat
from sparrow.verification import guard
from sparrow.verification.auto_lirpa_bridge import auto_lirpa
from sparrow.verification.memory import exhausted

# With auto_LiRPA 0.3, alpha-CROWN fails without the first two (shape mismatch), and without the third on a network with a
# layer that is stable at first and not later. Less sparse bookkeeping changes no bound for the worse, and is faster.
BOUND_OPTIONS = {"sparse_features_alpha": False, "sparse_spec_alpha": False, "sparse_intermediate_bounds": False}


def margin_matrix(labels: Tensor, classes: int) -> Tensor:
    """C (n, classes - 1, classes) such that C @ logits are the margins `logit[label] - logit[other]`, others ascending."""
    identity = torch.eye(classes, device=labels.device)
    differences = identity[labels].unsqueeze(1) - identity.unsqueeze(0)
    others = torch.arange(classes, device=labels.device).unsqueeze(0) != labels.unsqueeze(1)
    return differences[others].view(len(labels), classes - 1, classes)


def perturbed(images: Tensor, threat: Threat) -> Tensor:
    """`images` as auto_LiRPA's bounded tensor: all images within `threat.eps`; for linf, clipped to [0, 1]."""
    lirpa = auto_lirpa()
    if threat.norm == "linf":
        lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
        ball = lirpa.PerturbationLpNorm(norm=float("inf"), eps=threat.eps, x_L=lower, x_U=upper)
    else:
        ball = lirpa.PerturbationLpNorm(norm=2, eps=threat.eps)
    return lirpa.BoundedTensor(images, ball)


def bounded(model: nn.Module, images: Tensor, options: dict | None = None) -> nn.Module:
    """auto_LiRPA's view of `model`, made for batches shaped like `images`, in eval mode. It shares the model's parameters.

    Raises NetworkError, naming the layer, if auto_LiRPA does not know one.
    """
    image, options = images[:1].detach().clone(), BOUND_OPTIONS | (options or {})
    with flags_restored(model), layer_named(model, image, "IBP"):
        # A batch norm behind a linear layer has no statistics of one image.
        model.eval()
        network = auto_lirpa().BoundedModule(model, image, bound_opts=options)
        if network.conv_mode == "patches" and not _fit_for_patches(network):
            network = auto_lirpa().BoundedModule(model, image, bound_opts=options | {"conv_mode": "matrix"})
        _faithful(network, model, image)
        return network


def _faithful(network: nn.Module, model: nn.Module, image: Tensor) -> None:
    """Raise NetworkError if auto_LiRPA's view of `model` gives `image` (1, c, h, w) other logits, or a map has no pixel."""
    with torch.no_grad(), guard.eval_mode(model):  # To follow dropout, it has been put into train mode.
        expected, found = model(image), network[network.final_name].forward_value
        if any(type(node).__name__ == "BoundDropout" for node in network.modules()):
            # Its first pass, in train mode, has dropped some.
            network.eval()
            found = network(image)
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
        kinds = sorted({type(node).__name__.removeprefix("Bound") for node in network.modules() if hasattr(node, "inputs")})
        raise NetworkError(f"auto_LiRPA computes other logits than {type(model).__name__} does, from {', '.join(kinds)}")

    empty = next((node for node in network.modules() if _has_no_pixel(node)), None)
    if empty is not None:
        raise NetworkError(f"{_named(empty)} puts out a map without a pixel, of images of the shape {tuple(image.shape[1:])}")


def _has_no_pixel(node: nn.Module) -> bool:
    """Whether a node puts out nothing; of what is no layer, such as a shape, that may be meant."""
    value = getattr(node, "forward_value", None)
    return bool(getattr(node, "inputs", ())) and isinstance(value, Tensor) and value.dim() > 1 and not value.numel()


LEFT_OUT = {"Input", "Params", "Buffers", "Constant"}
LEAVES = {"BoundInput", "BoundParams", "BoundBuffers"}
PATCHED = {"BoundConv", "BoundBatchNormalization", "BoundRelu", "BoundAdd", "BoundFlatten", "BoundLinear"}


def _fit_for_patches(network: nn.Module) -> bool:
    """Whether auto_LiRPA's short form of a convolution's coefficients, as patches of its input, is known to be right here.

    That is so in chains and residual networks of plain convolutions, batch norms, ReLUs and linear layers, if images, kernels,
    strides and paddings are square, and a convolution or a linear layer is the only reader of the image. With anything else
    0.3 is wrong now and then or gives up; whole matrices take more memory, and are right.
    """
    return all(_plain(node) for node in network.modules() if hasattr(node, "inputs"))


def _plain(node: nn.Module) -> bool:
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
        sizes = node.input_shape[2:], node.inputs[1].forward().shape[2:], node.stride, node.padding
        return node.groups == 1 and all(step == 1 for step in node.dilation) and all(len(set(pair)) == 1 for pair in sizes)
    return True


@contextmanager
def layer_named(model: nn.Module, image: Tensor, method: str) -> Iterator[None]:
    """Turn whatever auto_LiRPA raises inside, memory apart, into a NetworkError that names the layer it does not take."""
    try:
        yield
    except SparrowError:
        raise
    except Exception as error:
        if exhausted(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise NetworkError(f"auto_LiRPA cannot bound {_culprit(model, image, method)} by {method} ({reason})") from error


def _culprit(model: nn.Module, image: Tensor, method: str) -> str:
    """The first layer that auto_LiRPA does not even take by itself, or else the network's own forward pass."""
    inputs: dict[str, Tensor] = {}
    leaves = {name: module for name, module in model.named_modules() if name and not any(module.children())}

    def keep(name: str, given: Tensor) -> None:  # What a hook returns would take the place of the layer's input.
        inputs.setdefault(name, given.detach())

    hooks = [
        module.register_forward_pre_hook(lambda layer, given, name=name: keep(name, given[0]))
        for name, module in leaves.items()
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    for name, given in inputs.items():
        if not _taken(leaves[name], given[:1], method):
            return f"layer {name} ({type(leaves[name]).__name__})"
    return f"the forward pass of {type(model).__name__}"


def _taken(layer: nn.Module, given: Tensor, method: str) -> bool:
    """Whether auto_LiRPA bounds the sum of what one layer puts out."""
    try:
        with torch.no_grad():
            size = layer(given).numel()
        alone = nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 1)).to(given.device).eval()
        network = auto_lirpa().BoundedModule(alone, given, bound_opts=BOUND_OPTIONS)
        network.compute_bounds(x=(perturbed(given, Threat(norm="l2", eps=0.01)),), method=method.replace("-Optimized", ""))
    except Exception:
        return False
    return True


def margins(network: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, method: str) -> Tensor:
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
    """Lower bound (n,) on the smallest margin; `model` is left as it was.

    A fresh BoundedModule each time: one that has computed other bounds keeps some of their state. Raises NetworkError if
    auto_LiRPA has no such bound for one of the network's layers, or a point of a perturbation set refutes it.
    """
    with flags_restored(model):
        with layer_named(model, images[:1], method):
            network = bounded(model, images, options)
            try:
                found = _in_eval_mode(network, images, labels, threat, classes, method)
            except Exception as error:
                if exhausted(error) or network.conv_mode != "patches":
                    raise
                # Kernels larger than their input, for one.
                network = bounded(model, images, (options or {}) | {"conv_mode": "matrix"})
                found = _in_eval_mode(network, images, labels, threat, classes, method)
        suspects = partial(_suspects, network, model, images, labels, threat)
        guard.hold(method, model, images, labels, found, threat, suspects)
        wrong = next((node for node in _ranged(network) if guard.out_of_range(node.lower, node.upper)), None)
        if wrong is not None:
            raise NetworkError(f"{method} gave lower bounds above upper ones for {_named(wrong)}")
    return found


def _in_eval_mode(network: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, method: str) -> Tensor:
    """The bounds (n,) on the smallest margin, without gradients."""
    network.eval()
    if method == "CROWN-Optimized" and not network.optimizable_activations:
        method = "CROWN"  # Without a slope to optimise, that is what it amounts to.
    # auto_LiRPA 0.3 optimises the slopes of a max pooling for one image alone.
    pooled = method == "CROWN-Optimized" and any(type(node).__name__ == "BoundMaxPool" for node in network.modules())
    parts = zip(images.split(1), labels.split(1), strict=True) if pooled else [(images, labels)]
    return torch.cat([margins(network, *part, threat, classes, method).detach() for part in parts]).amin(dim=1)


def _ranged(network: nn.Module) -> list[nn.Module]:
    """The nodes that the last bounds needed ranges of, in the network's order; not the last, whose bounds are of margins."""
    known: dict[str, nn.Module] = {}

    def visit(node: nn.Module) -> None:
        if node.name not in known:
            for given in node.inputs:
                visit(given)
            known[node.name] = node

    visit(network[network.final_name])
    bounded = [node for node in known.values() if node.perturbed and node.name != network.final_name]
    return [node for node in bounded if isinstance(getattr(node, "lower", None), Tensor) and isinstance(node.upper, Tensor)]


def _named(node: nn.Module) -> str:
    """A node by its kind, and the layer whose weights it has, if any."""
    kind = type(node).__name__.removeprefix("Bound")
    own = [given.ori_name for given in node.inputs if type(given).__name__ == "BoundParams" and given.ori_name]
    return f"layer {own[0].removesuffix('.weight').removesuffix('.bias')} ({kind})" if own else f"an operation ({kind})"


def _wrong_range(network: nn.Module, nodes: list[nn.Module], points: Iterator[Tensor]) -> nn.Module | None:
    """The first of `nodes`, in order, whose range a point leaves. Their ranges stay as they are."""
    first = len(nodes)
    for there in points:
        with torch.no_grad():
            network(there, clear_forward_only=True, reset_perturbed_nodes=False)
        for place, node in enumerate(nodes[:first]):
            if guard.out_of_range(node.lower, node.upper, node.forward_value):
                first = place
                break
    return nodes[first] if first < len(nodes) else None


def _suspects(network: nn.Module, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> str:
    """The end of a message about a refuted bound: where it is wrong first, and what can be done."""
    nodes = _ranged(network)
    few = max((len(node.lower) for node in nodes), default=0)  # Of those it was bounded for last.
    with guard.eval_mode(model):
        wrong = _wrong_range(network, nodes, guard.spread(model, images[-few:], labels[-few:], threat)) if few else None
    kinds = sorted(
        {type(node).__name__.removeprefix("Bound") for node in network.modules() if hasattr(node, "inputs")} - LEFT_OUT
    )
    where = f"{_named(wrong)} is the first whose range is wrong" if wrong is not None else "its layers' ranges hold"
    return f"; {where}, in a network of {', '.join(kinds)}; its bound is not to be had from auto_LiRPA, others may be"


def input_ranges(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int) -> list[tuple[Tensor, Tensor]]:
    """Lower and upper bounds (n, ...) by CROWN on what enters each ReLU layer, in the network's order; empty without ReLUs.

    Raises NetworkError if auto_LiRPA has no such bounds, or a point of a perturbation set refutes them.
    """
    with torch.no_grad(), flags_restored(model):
        network = bounded(model, images)
        network.eval()
        with layer_named(model, images[:1], "CROWN"):
            margins(network, images, labels, threat, classes, "CROWN")
        before = [relu.inputs[0] for relu in network.relus if relu.used and relu.perturbed]
        wrong = _wrong_range(network, before, guard.spread(model.eval(), images, labels, threat))
        if wrong is not None:
            raise NetworkError(f"CROWN gave {_named(wrong)} a range that it leaves at a point of the perturbation set")
        return [(node.lower.detach(), node.upper.detach()) for node in before]


@contextmanager
def flags_restored(model: nn.Module) -> Iterator[None]:
    """BoundedModule sets `requires_grad` on the parameters that it shares with the model, to its own train mode's value."""
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        with modes_kept(model):
            yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])
