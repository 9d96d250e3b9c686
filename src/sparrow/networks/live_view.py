"""A network without the units that cannot matter: for whoever looks at it with fixed weights.

Pruning single weights leaves units without any incoming weight, and units that nobody reads. Here they are cut out. A constant
is folded into the bias of what reads it. Behind zero padding, where the border sees less of a constant, one such unit stays and
stands for all: of any network the view is one of the same class, of plain layers. It computes the same function but for
rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparrow.networks.cutting import TOLERANCE
from sparrow.networks.dead_units import Reader, Tied, Units, nonzero_pairs, spread, units
from sparrow.networks.grafting import line_masks
from sparrow.networks.modes import eval_mode
from sparrow.networks.prunable import NORMS, PRUNABLE, prunable_weights

IMAGES = 4
"""Random images on which a view has to give the network's logits."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
OTHER_HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")


def live_view(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """An equivalent of `model` for images of `shape` (c, h, w) without the units that cannot matter, while its weights stay.

    The view is in eval mode, has layers of the same names, shares the tensors that are as they were, and runs the forward hooks
    of `model`. It is `model` itself if there is nothing to cut out, in train mode, if layers have hooks, and wherever it cannot
    be shown that the logits stay the same (`TOLERANCE`).
    """
    if any(module.training for module in model.modules()) or not _may_have_dead_units(model) or _has_hooks_inside(model):
        return model
    parameter = next(model.parameters())
    # A network that draws random numbers must not use up those of others.
    own = torch.random.fork_rng([parameter.device] if parameter.device.type == "cuda" else [])
    with torch.no_grad(), torch.autocast(parameter.device.type, enabled=False), own:
        try:
            found = units(model, parameter.new_zeros(1, *shape))
            if all(bool(mask.all()) for mask in found.kept.values()):
                return model
            view = _copy(model)
            _cut(view, found)
            return view if _gives_the_same_logits(view, model, shape) else model
        except Exception:  # Whatever its forward pass does that a trace, or a smaller layer, cannot follow.
            return model


def effective_size(model: nn.Module, shape: tuple[int, int, int], positions: Mapping[str, int]) -> dict[str, int]:
    """What is not zero in the `live_view` of `model` for images of `shape`: parameters, lines apart, and the multiply-adds by
    weights of convolutions and linear layers for one image, each as often as `positions` says (`Layout.positions`)."""
    with eval_mode(model):
        view = live_view(model, shape)
    lines = line_masks(view)
    parameters = [tensor for name, tensor in view.named_parameters() if name not in lines]
    weights = prunable_weights(view)
    return {
        "effective_parameters": sum(int(tensor.count_nonzero()) for tensor in parameters),
        "effective_multiply_adds": sum(positions[name] * int(weight.count_nonzero()) for name, weight in weights.items()),
    }


def _may_have_dead_units(model: nn.Module) -> bool:
    """Whether a layer has an output or an input without weights, or a batch norm a scale of 0: with neither, none is dead."""
    for module in model.modules():
        if isinstance(module, NORMS) and module.weight is not None and not bool(module.weight.all()):
            return True
        if isinstance(module, PRUNABLE):
            nonzero = nonzero_pairs(module.weight)
            if not bool(nonzero.any(1).all() & nonzero.any(0).all()):
                return True
    return False


def _has_hooks_inside(model: nn.Module) -> bool:
    """Whether a layer has hooks, or the network has some that a view would not run."""
    inside = (module for module in model.modules() if module is not model)
    return any(getattr(model, kind) for kind in OTHER_HOOKS) or any(
        getattr(module, kind) for module in inside for kind in (*HOOKS, *OTHER_HOOKS)
    )


def _copy(model: nn.Module) -> nn.Module:
    """A copy of `model` in modules of its own, with the very same tensors and the very same dictionaries of hooks."""
    shared = [*model.parameters(), *model.buffers(), *(getattr(model, kind) for kind in HOOKS)]
    return copy.deepcopy(model, {id(one): one for one in shared})


def _cut(view: nn.Module, found: Units) -> None:
    """Give the layers of `view` the weights of the units that are kept, with constants folded in."""
    for reader in found.readers:
        _cut_reader(view.get_submodule(reader.name), reader, found.kept[reader.source], found.kept[reader.target])
    for tied in found.tied:
        _cut_tied(view.get_submodule(tied.name), tied, spread(found.kept[tied.stream], tied.units))


def _cut_reader(layer: nn.Module, reader: Reader, source: Tensor, target: Tensor) -> None:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    folds, value, carrier = reader.inputs
    source = spread(source, len(folds))
    if source.all() and target.all() and not folds.any():
        return
    weight, bias = layer.weight.detach()[target], None if layer.bias is None else layer.bias.detach()[target]
    given = value != 0
    constant = torch.einsum("oi...,i->o...", weight[:, given].double(), value[given])
    weight[:, folds] = 0
    if carrier is not None:
        weight[:, carrier] = (constant / value[carrier]).to(weight)
    elif constant.any():
        folded = constant if constant.dim() == 1 else constant.flatten(1).sum(1)
        bias = folded if bias is None else bias.double() + folded
    layer.weight = _parameter(weight[:, source], layer.weight)
    if bias is not None:
        layer.bias = _parameter(bias, layer.weight)
    names = ("out_channels", "in_channels") if isinstance(layer, nn.Conv2d) else ("out_features", "in_features")
    for name, size in zip(names, weight.shape, strict=False):
        setattr(layer, name, size)


def _parameter(tensor: Tensor, like: Tensor) -> nn.Parameter:
    """A parameter of this content, in the precision of another and learning if that does."""
    return nn.Parameter(tensor.to(like.dtype), requires_grad=like.requires_grad)


def _cut_tied(layer: nn.Module, tied: Tied, kept: Tensor) -> None:
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, _parameter(parameter.detach()[kept], parameter))
    for name, buffer in list(layer.named_buffers()):
        if buffer.dim():  # The number of batches is one for all.
            setattr(layer, name, buffer[kept])
    count = int(kept.sum())
    if isinstance(layer, NORMS):
        layer.num_features = count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = count
    elif isinstance(layer, nn.Conv2d):  # Depthwise.
        layer.in_channels = layer.out_channels = layer.groups = count


def _gives_the_same_logits(view: nn.Module, model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether the logits of a few random images are the same but for rounding."""
    parameter = next(model.parameters())
    images = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    # Not by a call, so that no hook sees these passes.
    expected, found = model.forward(images), view.forward(images)
    largest = expected.abs().max().clamp(min=1)
    return found.shape == expected.shape and bool((found - expected).abs().max() <= TOLERANCE * largest)
